import EagleDraft
import EagleModels
import EagleRunFiles
import EagleTensor

// R tokens in the pass · V vocabulary.

/// A generation in progress: a prompt, the tokens that follow it so far, and the caches that both extend. Reference
/// semantics.
///
/// Each pass over the caches ends in `finishChunk`, `finishPrefill` or `finishRound`. The tokens that it yielded are
/// then taken one by one with `nextToken`; only those that are taken belong to the sequence.
final class ActiveGeneration {
  enum Phase {
    /// The cache lacks entries of the prompt.
    case prefill
    /// The next round may run after the newest token, which has no entry in the caches yet.
    case decoding(newest: Int32)
    /// Tokens of the last pass wait to be taken.
    case delivering(PassOutput)
    case ended(FinishReason)
    case failed(any Error)
  }

  let prompt: [Int32]
  let options: DecodingOptions
  let caches: SequenceCaches
  /// A function that sees the target's logits [V] of each position that yields a token, before they are used.
  private let onLogits: ((UnsafeMutableBufferPointer<Float>) -> Void)?
  private(set) var phase = Phase.prefill
  private var stopwatch: Stopwatch
  private var ids: [Int32] = []
  private var passes: [Generation.Pass] = []
  private var sampler: Sampler
  private var budget: DraftBudget?
  private var statistics = DecodingStatistics()

  /// Truncates the caches to the prefix that the prompt can reuse.
  init(
    _ prompt: [Int32], _ options: DecodingOptions, caches: SequenceCaches,
    onLogits: ((UnsafeMutableBufferPointer<Float>) -> Void)? = nil
  ) {
    (self.prompt, self.options, self.caches, self.onLogits) = (prompt, options, caches, onLogits)
    sampler = Sampler(options.sampling, prompt: prompt)
    budget = options.plan.costs.map(DraftBudget.init)
    stopwatch = .prefill(since: .now)
    let reused = caches.reusePrefix(of: prompt)
    if options.maxNewTokens <= 0 {
      (phase, stopwatch) = (.ended(.length), .off)
    } else {
      (statistics.promptTokens, statistics.cachedTokens) = (prompt.count, reused)
    }
  }

  var isPrefilling: Bool { if case .prefill = phase { true } else { false } }

  var isDecoding: Bool { if case .decoding = phase { true } else { false } }

  /// Whether the generation has neither ended nor failed.
  var isBusy: Bool {
    switch phase {
    case .prefill, .decoding, .delivering: true
    case .ended, .failed: false
    }
  }

  func fail(_ error: any Error) { phase = .failed(error) }

  /// Reserves addresses for the tokens of the next pass. Returns false if that has failed the generation.
  func reserve(_ tokens: Int) -> Bool {
    do { try caches.reserve(tokens) } catch { fail(error) }
    return isBusy
  }

  // MARK: prefill

  /// The positions of the prompt's next chunk.
  var nextChunk: Range<Int> {
    let (first, size) = (caches.count, DecodingSession.prefillChunk)
    return first..<min(prompt.count, (first / size + 1) * size)
  }

  /// Takes the states of the next chunk. Returns whether the prompt is complete.
  func finishChunk(_ states: TargetStates, _ kind: TargetModel.PassKind) -> Bool {
    caches.append(nextChunk, of: prompt, states: states, kind)
    return caches.count == prompt.count
  }

  /// Samples the first token.
  ///
  /// - Parameter logits: [R, V], whose row `index` belongs to the prompt's last token
  func finishPrefill(_ logits: Tensor, row index: Int) {
    stopwatch.beginDecoding(&statistics)
    do {
      let z = row(index, of: logits)
      let raw = sampler.keep(z)
      let token = try sampler.choose(z, position: prompt.count)
      phase = .delivering(PassOutput(VerificationResult(token, raw)))
    } catch { fail(error) }
  }

  // MARK: rounds

  /// The draft's proposal after the newest token.
  ///
  /// - Parameter batch: the batch of the round
  /// - Throws: `GenerationError` for logits of the draft that are not finite
  func propose(after newest: Int32, _ batch: BatchLoad) throws -> Proposal {
    var plan = options.plan
    // The target adds one token of its own.
    plan.depth = min(plan.depth, options.maxNewTokens - ids.count - 1)
    if plan.isChain { plan.nodes = plan.depth }
    budget?.batch = batch
    guard let drafter = caches.drafter, plan.depth > 0, batch.allowsDrafts, budget?.paysRound() ?? true else {
      caches.updateDraftIfBehind(newest: newest)
      return Proposal(after: newest)
    }
    caches.updateDraft(newest: newest)
    return try drafter.propose(after: newest, plan: plan, sampler: sampler, budget: budget)
  }

  /// Verifies a proposal. Several threads may do so at once, each for a generation of its own.
  ///
  /// - Parameters:
  ///   - logits: the target's logits [R, V] of the whole pass
  ///   - firstRow: the row of the newest token
  /// - Throws: `GenerationError` for logits that are not finite
  func verify(_ proposal: Proposal, _ logits: Tensor, firstRow: Int) throws -> VerificationResult {
    try VerificationResult.verify(
      proposal, position: caches.count + 1, sampler: sampler, logits: { self.row(firstRow + $0, of: logits) })
  }

  /// Takes the outcome of a round.
  func finishRound(_ proposal: Proposal, _ result: VerificationResult, states: TargetStates, times: RoundTimes) {
    statistics.count(proposal, result, times: times, hasDraft: caches.drafter != nil)
    budget?.count(
      draftPasses: proposal.passes, tokens: proposal.tokens.count, depth: proposal.depth, kept: result.accepted,
      first: proposal.confidence.map { ($0, result.path.dropFirst().first == 1) })
    phase = .delivering(PassOutput(result, entries: (proposal.tokens, states)))
  }

  /// Drops the entries of a round that failed.
  func failRound(_ error: any Error) {
    caches.discardPass()
    fail(error)
  }

  // MARK: tokens

  /// Takes the next token of the last pass; nil when all of them are taken, or the generation has ended.
  func nextToken() -> GeneratedToken? {
    guard case .delivering(var output) = phase else { return nil }
    let token = output.take()
    ids.append(token.id)
    sampler.append(token.id)
    if options.stopIDs.contains(token.id) {
      end(output, .ended(.stop))
    } else if ids.count >= options.maxNewTokens {
      end(output, .ended(.length))
    } else if output.isEmpty {
      end(output, .decoding(newest: token.id))
    } else {
      phase = .delivering(output)
    }
    return token
  }

  /// Ends the generation with the last token that was taken. One that has ended stays as it is, except that a stop
  /// string becomes the reason where the token that reached the limit also completed it.
  func stop(_ cause: StopCause) {
    switch phase {
    case .prefill, .decoding: phase = .ended(FinishReason(cause))
    case .delivering(let output): end(output, .ended(FinishReason(cause)))
    case .ended(.length) where cause == .stopString: phase = .ended(.stopString)
    case .ended, .failed: break
    }
  }

  /// Keeps the entries of the tokens that were taken.
  private func end(_ output: PassOutput, _ next: Phase) {
    phase = next
    statistics.newTokens = ids.count
    statistics.dropAccepted(from: output.taken, of: output.result.accepted)
    if output.taken > 0 {
      passes.append(.init(tokens: output.taken, accepted: min(output.taken, output.result.accepted)))
    }
    guard let entries = output.entries else { return }
    statistics.decodedTokens += output.taken
    caches.keep(Array(output.result.path.prefix(output.taken)), of: entries.tokens, entries.states)
  }

  /// Ends the generation in any phase, and returns what it has so far. The caches stay for the next one.
  ///
  /// - Throws: the error that failed it; then the caches are empty
  func end() throws -> Generation {
    stop(.cancelled)
    switch phase {
    case .failed(let error):
      caches.truncate(to: 0)
      throw error
    case .ended(let finish):
      if let newest = ids.last { caches.updateDraft(newest: newest) }
      stopwatch.stop(&statistics)
      return Generation(ids: ids, passes: passes, finish: finish, statistics: statistics)
    case .prefill, .decoding, .delivering: preconditionFailure("a stopped generation has not ended")
    }
  }

  private func row(_ index: Int, of logits: Tensor) -> UnsafeMutableBufferPointer<Float> {
    let row = UnsafeMutableBufferPointer(start: logits.floats + index * logits.columns, count: logits.columns)
    onLogits?(row)
    return row
  }
}
