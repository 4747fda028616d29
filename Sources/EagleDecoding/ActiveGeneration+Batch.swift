import EagleDraft
import EagleModels
import EagleTensor

// R tokens in the pass · V vocabulary.

/// Passes of several generations of one target together: the weights are read once for all.
extension ActiveGeneration {
  /// One pass over the next chunk of each prompt. A generation whose prompt is then complete has its first token.
  static func prefill(_ batch: [ActiveGeneration]) {
    let batch = batch.filter { $0.isPrefilling && $0.reserve($0.nextChunk.count) }
    guard let first = batch.first else { return }
    let target = first.caches.target
    let kind: TargetModel.PassKind = first.options.isPrefillInvariant ? .decode : .prefill
    let pass = BatchPass(batch, tokens: batch.map { Array($0.prompt[$0.nextChunk]) })
    let states = pass.run(target, kind)
    let complete = zip(batch, pass.rows).filter { $0.finishChunk(states.slice($1), kind) }
    if complete.isEmpty { return }
    let last = Rows.select(states.lastHidden, complete.map { Int32($0.1.upperBound - 1) })
    let logits = target.logits(last)
    withExtendedLifetime(logits) {
      for (row, (generation, _)) in complete.enumerated() { generation.finishPrefill(logits, row: row) }
    }
  }

  /// One round of each sequence: propose, verify in one batch-invariant pass, keep the accepted tokens.
  static func decode(_ batch: [ActiveGeneration]) {
    var timer = RoundTimer()
    let (batch, proposals) = propose(batch.filter { $0.isDecoding && $0.reserve($0.options.plan.nodes + 1) })
    guard let target = batch.first?.caches.target else { return }
    timer.lap(\.draft)
    let pass = BatchPass(batch, tokens: proposals.map(\.tokens), trees: proposals.map(\.tree))
    let states = pass.run(target, .decode)
    let logits = target.logits(states.lastHidden)
    timer.lap(\.target)
    let results = VerificationBatch(batch, proposals, logits: logits, rows: pass.rows).run()
    timer.lap(\.choice)
    for (index, generation) in batch.enumerated() {
      switch results[index] {
      case .success(let result):
        generation.finishRound(proposals[index], result, states: states.slice(pass.rows[index]), times: timer.times)
      case .failure(let error): generation.failRound(error)
      }
    }
  }

  /// Proposes for each generation of a batch. Returns those with finite draft logits; the others have failed.
  private static func propose(_ batch: [ActiveGeneration]) -> ([ActiveGeneration], [Proposal]) {
    var (drafted, proposals): ([ActiveGeneration], [Proposal]) = ([], [])
    var tokens = batch.count
    for generation in batch {
      guard case .decoding(let newest) = generation.phase else { continue }
      do {
        let proposal = try generation.propose(after: newest, BatchLoad(sequences: batch.count, otherTokens: tokens - 1))
        tokens += proposal.count
        drafted.append(generation)
        proposals.append(proposal)
      } catch { generation.failRound(error) }
    }
    return (drafted, proposals)
  }
}

/// The tokens of several generations, concatenated.
private struct BatchPass {
  let ids: [Int32]
  let segments: [Segment]
  /// The rows of each generation in the pass.
  let rows: [Range<Int>]
  let layers: [Int]

  init(_ batch: [ActiveGeneration], tokens: [[Int32]], trees: [RowTree]? = nil) {
    var (ids, segments, ranges): ([Int32], [Segment], [Range<Int>]) = ([], [], [])
    for (index, generation) in batch.enumerated() {
      let (range, kv) = (ids.count..<ids.count + tokens[index].count, generation.caches.sequence.kv)
      ids += tokens[index]
      ranges.append(range)
      segments.append(trees.map { Segment(rows: range, cache: kv, tree: $0[index]) } ?? Segment(rows: range, cache: kv))
    }
    (self.ids, self.segments, self.rows) = (ids, segments, ranges)
    layers = batch.lazy.compactMap { $0.caches.drafter?.captureLayers }.first ?? []
  }

  func run(_ target: TargetModel, _ kind: TargetModel.PassKind) -> TargetStates {
    target.run(kind, ids, segments: segments, captureLayers: layers)
  }
}

extension TargetStates {
  /// The states of some consecutive tokens.
  fileprivate func slice(_ range: Range<Int>) -> TargetStates {
    TargetStates(auxHidden: auxHidden?.slice(range), lastHidden: lastHidden.slice(range))
  }
}
