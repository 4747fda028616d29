import EagleDraft
import EagleTensor

// R tokens in the pass · V vocabulary.

/// The verification of a batch. Threads share it: each reads its own generation and the logits of its tokens.
struct VerificationBatch: @unchecked Sendable {
  private let batch: [ActiveGeneration]
  private let proposals: [Proposal]
  private let logits: Tensor
  private let rows: [Range<Int>]

  init(_ batch: [ActiveGeneration], _ proposals: [Proposal], logits: Tensor, rows: [Range<Int>]) {
    (self.batch, self.proposals, self.logits, self.rows) = (batch, proposals, logits, rows)
  }

  /// Samples on all threads where there are several sequences: the time of sampling grows with the vocabulary.
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
