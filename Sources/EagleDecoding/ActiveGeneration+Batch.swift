import EagleModels
import EagleTensor

// R tokens in the pass · V vocabulary.

/// Passes of several generations of one target together: the weights are read once for all.
extension ActiveGeneration {
  /// One pass over the next chunk of each prompt. A generation whose prompt is complete has its first token then.
  static func prefill(_ batch: [ActiveGeneration]) {
    let batch = batch.filter { $0.isPrefilling && $0.reserve($0.nextChunk.count) }
    guard let first = batch.first else { return }
    let target = first.caches.target
    let products = first.options.promptProducts ?? target.precision.products
    let pass = BatchPass(batch, tokens: batch.map { Array($0.prompt[$0.nextChunk]) })
    let states = pass.run(target, products)
    let complete = zip(batch, pass.rows).filter { $0.finishChunk(states.slice($1), products) }
    if complete.isEmpty { return }
    let last = Rows.select(states.lastHidden, complete.map { Int32($0.1.upperBound - 1) })
    let logits = target.logits(last, target.precision.decodingProducts)
    withExtendedLifetime(logits) {
      for (row, (generation, _)) in complete.enumerated() { generation.finishPrefill(logits, row: row) }
    }
  }

  /// One round of each text: propose, verify in one batch-invariant pass, keep what agrees.
  static func decode(_ batch: [ActiveGeneration]) {
    var timer = RoundTimer()
    let (batch, proposals) = propose(batch.filter { $0.isDecoding && $0.reserve($0.options.plan.nodes + 1) })
    guard let target = batch.first?.caches.target else { return }
    timer.lap(\.draft)
    let pass = BatchPass(batch, tokens: proposals.map(\.tokens), trees: proposals.map(\.tree))
    let states = pass.run(target, target.precision.decodingProducts)
    let logits = target.logits(states.lastHidden, target.precision.decodingProducts)
    timer.lap(\.target)
    let results = VerificationBatch(batch, proposals, logits, pass.rows).run()
    timer.lap(\.choice)
    for (index, generation) in batch.enumerated() {
      switch results[index] {
      case .success(let result):
        generation.finishRound(proposals[index], result, states.slice(pass.rows[index]), timer.times)
      case .failure(let error): generation.failRound(error)
      }
    }
  }

  /// The proposals to those of a batch whose drafts have finite logits; the others have failed.
  private static func propose(_ batch: [ActiveGeneration]) -> ([ActiveGeneration], [Proposal]) {
    var (drafted, proposals): ([ActiveGeneration], [Proposal]) = ([], [])
    var tokens = batch.count
    for generation in batch {
      guard case .decoding(let newest) = generation.phase else { continue }
      do {
        let proposal = try generation.propose(after: newest, Company(texts: batch.count, rows: tokens - 1))
        tokens += proposal.count
        drafted.append(generation)
        proposals.append(proposal)
      } catch { generation.failRound(error) }
    }
    return (drafted, proposals)
  }
}

/// The tokens of several generations, end to end.
private struct BatchPass {
  let ids: [Int32]
  let segments: [Segment]
  /// The rows of each generation.
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

  func run(_ target: TargetModel, _ products: Products) -> TargetStates {
    target.forward(ids, segments: segments, captureLayers: layers, products)
  }
}

/// What threads read while they verify: each its own generation, and the logits of its rows.
private struct VerificationBatch: @unchecked Sendable {
  private let batch: [ActiveGeneration]
  private let proposals: [Proposal]
  private let logits: Tensor
  private let rows: [Range<Int>]

  init(_ batch: [ActiveGeneration], _ proposals: [Proposal], _ logits: Tensor, _ rows: [Range<Int>]) {
    (self.batch, self.proposals, self.logits, self.rows) = (batch, proposals, logits, rows)
  }

  /// Samples on all threads where there are several texts: it takes as long as their vocabulary is large.
  func run() -> [Result<VerificationResult, any Error>] {
    let results = VerificationResults(count: batch.count)
    Parallel.forEachRange(batch.count, grain: 1, dynamic: true) { range in
      for index in range { results.set(index, verify(index)) }
    }
    return results.all
  }

  private func verify(_ index: Int) -> Result<VerificationResult, any Error> {
    Result { try batch[index].verify(proposals[index], logits, firstRow: rows[index].lowerBound) }
  }
}

/// Results by index, each written by one thread.
private final class VerificationResults: @unchecked Sendable {
  private let results: UnsafeMutableBufferPointer<Result<VerificationResult, any Error>>

  init(count: Int) {
    results = .allocate(capacity: count)
    results.initialize(repeating: .success(VerificationResult()))
  }

  deinit {
    results.deinitialize()
    results.deallocate()
  }

  func set(_ index: Int, _ result: Result<VerificationResult, any Error>) { results[index] = result }

  var all: [Result<VerificationResult, any Error>] { Array(results) }
}

/// The others in a pass.
package struct Company: Sendable, Equatable {
  /// Texts in the pass, this one included.
  package var texts = 1
  /// Rows of the others.
  package var rows = 0

  package init(texts: Int = 1, rows: Int = 0) { (self.texts, self.rows) = (texts, rows) }

  /// Texts that may draft together. With more of them a row costs as much as a token is worth.
  package static let mostDrafting = 4

  var mayDraft: Bool { texts <= Self.mostDrafting }
}

extension TargetStates {
  /// Some consecutive rows.
  fileprivate func slice(_ range: Range<Int>) -> TargetStates {
    TargetStates(auxHidden: auxHidden?.slice(range), lastHidden: lastHidden.slice(range))
  }
}
