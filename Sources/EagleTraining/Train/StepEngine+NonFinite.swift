import EagleCluster
import EagleDraft
import Foundation

extension StepEngine {
  /// The conversations of the batch whose loss or gradient is not finite when each is computed alone. Overwrites the
  /// gradients. Collective.
  func culprits(of batch: PreparedBatch) throws -> [Int] {
    // Fetched again, because the conversations from other nodes were replaced by those of the next batch.
    try feed.fetch(batch.parts, clock)
    defer { forgetPrepared() }
    let globalRows = batch.globalRows.map { max(1, $0) }
    let found = try batch.microBatches.joined().filter { try !isFinite($0, globalRows: globalRows) }
    return Set(try cluster.allGather(value: found.map(\.conversation)).joined()).sorted()
  }

  private func isFinite(_ part: ConversationPart, globalRows: [Double]) throws -> Bool {
    defer { cluster.tick() }
    optimizer.clearGradients()
    let sums = try load([part], epoch: epoch).run(globalRows: globalRows, recording: true)
    return sums.allSatisfy(\.loss.isFinite)
      && optimizer.sumOfSquares([0..<optimizer.gradients.count]).isFinite
  }
}
