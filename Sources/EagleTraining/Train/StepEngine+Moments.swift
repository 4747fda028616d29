import EagleCluster
import EagleTensor

extension StepEngine {
  /// Both moments of all weights on rank 0; on other ranks they mean nothing where each has its own only. Between two
  /// steps the gradients' buffer is free for them: only rank 0 needs a buffer for one moment more. Collective.
  func gatherMoments() throws -> (first: Tensor, second: Tensor) {
    guard inputs.config.shardOptimizer else { return (optimizer.firstMoment, optimizer.secondMoment) }
    let gradients = optimizer.gradients
    let first = try gather(
      optimizer.firstMoment, into: cluster.isRoot ? Tensor(gradients.shape) : gradients)
    return (first, try gather(optimizer.secondMoment, into: gradients))
  }

  private func gather(_ own: Tensor, into all: Tensor) throws -> Tensor {
    optimizer.forEachOwned(in: 0..<all.count) { part, moments in
      Elementwise.copy(own.slice(moments), into: all.slice(part))
    }
    try buckets.gather(all)
    return all
  }
}
