import EagleCluster
import Foundation

extension StepEngine {
  /// Conversations of the batch whose loss or gradient is not finite when they are run alone. Overwrites the gradients.
  /// Collective.
  func culprits(of batch: PreparedBatch) throws -> [Int] {
    // What came from other nodes for this batch has made way for the next one's.
    try feed.fetch(partition(batch.conversations, leavingOut: inputs.leftOut))
    defer { forgetPrepared() }
    let globalRows = batch.globalRows.map { max(1, $0) }
    let found = try batch.microBatches.joined().filter { try !isFinite($0, globalRows: globalRows) }
    return try cluster.gather(value: found).joined().sorted()
  }

  private func isFinite(_ conversation: Int, globalRows: [Double]) throws -> Bool {
    defer { cluster.tick() }
    optimizer.clearGradients()
    let sums = try load([conversation], epoch: epoch).run(globalRows: globalRows, recording: true)
    return sums.allSatisfy(\.loss.isFinite)
      && optimizer.sumOfSquares([0..<optimizer.gradients.count]).isFinite
  }
}
