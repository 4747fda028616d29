import EagleModels
import EagleTensor

// R batch rows of a pass · V vocabulary.

/// One sequence that is decoded: plainly, or speculatively with a draft. Its KV caches stay between texts, so a prompt that
/// begins with what was said before costs only its new part. Reference semantics.
///
/// `generate` writes a text from beginning to end. `begin`, `readPrompts` and `advance` do it step by step, for several
/// sessions together: that is how a server batches.
///
/// Greedy texts are the same with and without a draft, alone and in company, token for token: after the prompt every pass
/// is batch-invariant, so the logits that check a proposal are, bit for bit, those that plain decoding would have seen, and
/// a prompt is read in pieces that are cut at fixed positions. With a temperature a tree keeps that property, since its
/// tokens are sampled from the target's distribution either way; a chain samples from the draft and corrects (speculative
/// sampling), which keeps the distribution and gives another text.
public final class DecodingSession {
  let target: TargetModel
  let drafter: (any Drafter)?
  let cache: KVCache
  private let clock = ContinuousClock()
  /// The tokens whose keys are in the cache.
  private(set) var cached: [Int32] = []
  /// The text at work.
  private(set) var text: Text?
  /// States of cached positions that the drafter has not seen, [R, 3H] each, in order.
  private var unseen: [Tensor] = []
  private var budget: DraftBudget?
  /// Sees the target's logits [V] of each position that gives a token, before they are used.
  package var onLogits: ((UnsafeMutableBufferPointer<Float>) -> Void)?

  /// Positions at which a prompt is cut into the rows of one pass. All its passes are the same whoever else is written, so
  /// that its states are the same bits; and other texts wait for one of them at most.
  package static let promptPiece = 192

  /// Positions without a look by the drafter, at most: their states wait while no draft is wanted.
  private static let mostUnseen = 64

  /// - Parameters:
  ///   - target: who writes
  ///   - draft: its head; nil decodes plainly
  ///   - context: most tokens of prompt and text together; nil takes all positions of the target
  public convenience init(target: TargetModel, draft: DraftModel? = nil, context: Int? = nil) {
    let capacity = Self.capacity(target, context)
    self.init(
      target: target, drafter: draft.map { EagleDrafter(draft: $0, target: target, capacity: capacity) },
      context: context)
  }

  package init(target: TargetModel, drafter: (any Drafter)?, context: Int? = nil) {
    self.target = target
    self.drafter = drafter
    cache = target.makeCache(capacity: Self.capacity(target, context))
  }

  /// The context, and the rows of a round that are not kept. Addresses and memory come with the tokens.
  private static func capacity(_ target: TargetModel, _ context: Int?) -> Int {
    min(context ?? target.shape.maxPositions, target.shape.maxPositions) + DraftPlan.mostNodes + 1
  }

  /// Bytes of KV caches that a token takes.
  public static func bytesPerToken(_ target: TargetModel, _ draft: DraftModel?) -> Int {
    target.cacheBytesPerToken + (draft?.cacheBytesPerToken ?? 0)
  }

  /// Tokens that the cache holds.
  public var cachedTokens: Int { cached.count }

  /// Bytes of memory that its KV caches take.
  public var cacheBytes: Int { cache.byteCount + (drafter?.cacheBytes ?? 0) }

  /// How many tokens at the beginning of a prompt the cache holds.
  public func sharedTokens(with prompt: [Int32]) -> Int { zip(cached, prompt).prefix { $0 == $1 }.count }

  /// Forgets the conversation and gives its memory back.
  public func reset() {
    precondition(!isBusy, "a session is reset while it writes")
    forget(from: 0)
    releaseUnused()
  }

  /// Gives memory of its caches that holds no token back to the system.
  public func releaseUnused() {
    cache.releaseUnused()
    drafter?.releaseUnused()
  }

  /// Continues `prompt`, the whole conversation so far, until a stop id or the limit.
  ///
  /// - Parameters:
  ///   - prompt: all ids; those that the cache has are not computed again
  ///   - options: limit, stop ids, drafting, sampling
  ///   - onToken: decides after each new token whether the text goes on
  /// - Throws: `GenerationError` for an empty prompt, an id outside the vocabulary, options without a meaning, more
  ///   positions than the target has, or logits that are not finite
  public func generate(
    _ prompt: [Int32], _ options: DecodingOptions, onToken: (GeneratedToken) -> TokenDecision = { _ in .proceed }
  ) throws -> Generation {
    try generate(prompt, options, isWanted: { true }, onToken: onToken)
  }

  /// The same for a caller who may lose interest during the prefill of a long prompt.
  ///
  /// - Parameters:
  ///   - prompt: all ids; those that the cache has are not computed again
  ///   - options: limit, stop ids, drafting, sampling
  ///   - isWanted: called before each pass over the prompt; false cancels the text before it begins, and what was read
  ///     stays cached
  ///   - onToken: decides after each new token whether the text goes on
  /// - Throws: as the other one
  public func generate(
    _ prompt: [Int32], _ options: DecodingOptions, isWanted: () -> Bool,
    onToken: (GeneratedToken) -> TokenDecision
  ) throws -> Generation {
    try begin(prompt, options)
    while isReading {
      guard isWanted() else { return try end() }
      Self.readPrompts([self]) { onToken($1) }
    }
    while isDecoding { Self.advance([self]) { onToken($1) } }
    return try end()
  }

  // MARK: step by step

  /// Whether a text is at work that has neither ended nor failed.
  package var isBusy: Bool { isReading || isDecoding }

  /// Whether the prompt is being read.
  package var isReading: Bool { text.map { !$0.isOver && $0.ids.isEmpty } ?? false }

  /// Whether all rows of the prompt have run.
  var hasReadPrompt: Bool { cached.count == text!.prompt.count }

  /// Whether the prompt has been read and the text goes on.
  package var isDecoding: Bool { text.map { !$0.isOver && !$0.ids.isEmpty } ?? false }

  /// Begins a text; what the cache shares with its prompt is kept.
  ///
  /// - Throws: `GenerationError` for a prompt or options that cannot be decoded; then nothing has changed
  package func begin(_ prompt: [Int32], _ options: DecodingOptions) throws {
    precondition(!isBusy, "a session writes one text at a time")
    try target.check(prompt, options)
    let most = cache.capacity - DraftPlan.mostNodes - 1
    guard prompt.count + options.maxNewTokens <= most else {
      throw GenerationError(
        "a prompt of \(prompt.count) tokens and \(options.maxNewTokens) new ones do not fit the context of \(most)")
    }
    // The last cached row runs again: its logits are wanted, and the draft needs its states beside the next token.
    let reused = max(0, min(sharedTokens(with: prompt), drafter?.rowCount ?? .max) - 1)
    forget(from: reused)
    text = Text(prompt: prompt, options: options, reused: reused, start: clock.now)
    budget = options.plan.costs.map(DraftBudget.init)
  }

  /// Ends the text, wherever it is, and returns what there is of it. The caches stay for the next one.
  ///
  /// - Throws: what made it fail
  package func end() throws -> Generation {
    guard var text else { preconditionFailure("a session without a text is ended") }
    showUnseen()
    text.stopClock(clock.now)
    self.text = nil
    if let failure = text.failure {
      forget(from: 0)
      throw failure
    }
    return Generation(
      ids: text.ids, passes: text.passes, finish: text.finish ?? .cancelled, statistics: text.statistics)
  }

  // MARK: prompt

  /// Rows of the next pass over the prompt.
  package var promptRows: Range<Int> {
    let first = cached.count
    return first..<min(text!.prompt.count, (first / Self.promptPiece + 1) * Self.promptPiece)
  }

  /// Takes the states of those rows.
  func takePrompt(_ states: TargetStates, _ products: Products) {
    let (rows, prompt) = (promptRows, text!.prompt)
    let isLast = rows.upperBound == prompt.count
    let known = isLast ? rows.count - 1 : rows.count
    cached += prompt[rows]
    if let drafter, let aux = states.auxHidden {
      if known > 0 {
        drafter.extend(
          aux.slice(0..<known), nextTokens: Array(prompt[rows.lowerBound + 1..<rows.lowerBound + 1 + known]), products)
      }
      if isLast { unseen = [aux.slice(rows.count - 1..<rows.count)] }
    }
  }

  /// Takes the first token.
  ///
  /// - Parameter logits: [R, V], whose row `index` is that of the prompt's last token
  func takeFirstToken(_ logits: Tensor, row index: Int, _ onToken: Text.OnToken) {
    text!.statistics.promptSeconds = text!.start.duration(to: clock.now).inSeconds
    text!.decodingStart = clock.now
    attempt {
      let z = row(index, of: logits)
      let raw = text!.sampler.keep(z)
      let token = try text!.sampler.choose(z, position: text!.prompt.count)
      text!.append([token], raw.map { [$0.logprobs(of: token)] } ?? [], drafted: 0, onToken)
    }
  }

  // MARK: rounds

  /// Addresses for the rows of the next pass, in both caches.
  func reserve(_ rows: Int) {
    attempt {
      try cache.reserve(min(cache.capacity, cache.count + rows))
      try drafter?.reserve(rows)
    }
  }

  /// What is proposed behind the newest token.
  ///
  /// - Parameter company: of the other texts in the pass
  /// - Throws: `GenerationError` for logits of the draft that are not finite
  func propose(_ company: Company) throws -> Proposal {
    let text = text!
    var plan = text.options.plan
    // The target adds one token of its own.
    plan.depth = min(plan.depth, text.options.maxNewTokens - text.ids.count - 1)
    if plan.isChain { plan.nodes = plan.depth }
    budget?.company = company
    guard let drafter, plan.depth > 0, company.mayDraft, budget?.paysRound() ?? true else {
      if unseenCount >= Self.mostUnseen { showUnseen() }
      return Proposal(after: text.newest)
    }
    showUnseen()
    return try drafter.propose(after: text.newest, plan, text.sampler, budget)
  }

  /// What the target says to a proposal.
  ///
  /// - Parameter logits: the target's logits [R, V] of the whole pass
  /// - Throws: `GenerationError` for logits that are not finite
  func verdict(on proposal: Proposal, _ logits: Tensor, firstRow: Int) throws -> Verdict {
    let first = cache.count - proposal.rows.count
    return try Verdict.of(
      proposal, position: first + 1, sampler: text!.sampler, logits: { self.row(firstRow + $0, of: logits) })
  }

  /// Keeps the accepted path: tokens, rows of the cache, states for the draft.
  func keep(
    _ verdict: Verdict, of proposal: Proposal, _ states: TargetStates, _ times: RoundTimes,
    _ onToken: Text.OnToken
  ) {
    let first = cache.count - proposal.rows.count
    text!.statistics.count(proposal, verdict, times, hasDraft: drafter != nil)
    budget?.count(draftPasses: proposal.passes, rows: proposal.rows.count, kept: verdict.path.count - 1)
    let kept = text!.append(verdict.tokens, verdict.logprobs, drafted: verdict.path.count - 1, onToken)
    let path = Array(verdict.path.prefix(kept))
    cache.keep(path, from: first)
    cached += path.map { proposal.rows[$0] }
    if drafter != nil, let aux = states.auxHidden { unseen.append(Rows.chosen(aux, path)) }
  }

  /// Takes back the rows of a pass that came to nothing.
  func drop(_ rows: Int, because failure: any Error) {
    cache.truncate(to: cache.count - rows)
    text!.failure = failure
  }

  private var unseenCount: Int { unseen.reduce(0) { $0 + $1.rows } }

  /// Gives the draft the states that it has not seen, each beside the token after it. The newest token has no row yet, so
  /// that afterwards both caches hold the same positions.
  private func showUnseen() {
    guard let drafter, let text, !unseen.isEmpty, !text.ids.isEmpty else { return }
    drafter.extend(
      Rows.joined(unseen), nextTokens: text.tokens(drafter.rowCount + 1...cache.count),
      target.precision.decodingProducts)
    unseen = []
  }

  private func forget(from row: Int) {
    unseen = []
    cache.truncate(to: row)
    if let drafter { drafter.truncate(to: min(row, drafter.rowCount)) }
    cached.removeSubrange(row...)
  }

  private func attempt(_ body: () throws -> Void) {
    do { try body() } catch { text?.failure = error }
  }

  private func row(_ index: Int, of logits: Tensor) -> UnsafeMutableBufferPointer<Float> {
    let row = UnsafeMutableBufferPointer(start: logits.floats + index * logits.columns, count: logits.columns)
    onLogits?(row)
    return row
  }
}

extension TargetModel {
  /// - Throws: `GenerationError` for an empty prompt, an id outside the vocabulary, options without a meaning, or more
  ///   positions than there are
  func check(_ prompt: [Int32], _ options: DecodingOptions) throws {
    guard !prompt.isEmpty else { throw GenerationError("the prompt is empty: give at least one token") }
    if let odd = prompt.first(where: { $0 < 0 || $0 >= shape.vocabularySize }) {
      throw GenerationError("token id \(odd) is outside the target's vocabulary of \(shape.vocabularySize)")
    }
    guard options.maxNewTokens <= shape.maxPositions - prompt.count else {
      throw GenerationError(
        "a prompt of \(prompt.count) tokens and \(options.maxNewTokens) new ones need more positions than the "
          + "target's \(shape.maxPositions): shorten the prompt or ask for fewer tokens")
    }
    if let odd = options.sampling.logitBias.keys.first(where: { $0 < 0 || $0 >= shape.vocabularySize }) {
      throw GenerationError(
        "the logit bias of token \(odd) is outside the target's vocabulary of \(shape.vocabularySize)")
    }
    try options.plan.validate()
    try options.sampling.validate()
  }
}
