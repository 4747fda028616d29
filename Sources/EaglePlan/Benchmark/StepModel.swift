import EagleRunFiles
import EagleTraining
import Foundation

/// Predicts the optimiser step of N nodes from what one node and the link between two were measured to do.
///
/// ```
/// partition     b = s B / N tokens of the slowest node,  m = its last micro-batch
/// compute       = b τ (teacher, draft, head, backward) + optimiser
/// sum of p      = 2 p w (N − 1) / N / bandwidth + 2 latency (N − 1) for each of its buckets
/// head ready    when the last backward pass begins;  all others ready when it ends, m τ_back later
/// all there     = max(others ready, head ready + sum of head) + sum of others
/// exposed       = what is left of that after the teacher targets of the next micro-batch, m τ_teacher
/// ```
/// w is the bytes of an element on its way. s is how much the slowest rank has to do of a batch of the data's own
/// conversations, cut as training cuts them, against an N-th of the whole (`SampledPartitions`); `imbalance` makes it
/// longer still, for nodes that are not equally fast. With several ranks a node averaging is taken to be in two levels,
/// so that a node sends its sum once.
package struct StepModel: Sendable {
  /// Seconds for a token on one node, by part of the work.
  package struct Costs: Sendable {
    package var teacher: Double
    package var forward: Double
    package var head: Double
    package var backward: Double
    /// Seconds of a whole optimiser step.
    package var optimiser: Double

    /// What a training benchmark measured.
    ///
    /// - Parameter report: that of one node: `phases` are seconds of a rank, so its ranks share the tokens
    package init(_ report: BenchmarkReport) {
      let tokens = Double(report.tokens * report.conversations)
      func seconds(_ phase: Phase) -> Double { report.phases[phase.rawValue] ?? 0 }
      teacher = (seconds(.teacher) + seconds(.reading)) / tokens
      (forward, head) = (seconds(.draftForward) / tokens, seconds(.headAndLoss) / tokens)
      (backward, optimiser) = (seconds(.backward) / tokens, seconds(.optimiser))
    }

    /// What a forecast has worked out.
    ///
    /// - Parameter optimiser: and whatever else a step costs whatever its tokens
    package init(teacher: Double, forward: Double, head: Double, backward: Double, optimiser: Double) {
      (self.teacher, self.forward, self.head) = (teacher, forward, head)
      (self.backward, self.optimiser) = (backward, optimiser)
    }

    var perToken: Double { teacher + forward + head + backward }
  }

  /// What lies between nodes.
  package struct Link: Sendable {
    /// Bytes a second that a node sends while it receives as many.
    package var bandwidth: Double
    /// Seconds of a collective call without data.
    package var latency: Double

    package init(bandwidth: Double, latency: Double) { (self.bandwidth, self.latency) = (bandwidth, latency) }
  }

  /// One step of N nodes.
  package struct Step: Codable, Sendable {
    package var nodes: Int
    /// Tokens of the global batch.
    package var batch: Int
    package var seconds: Double
    package var compute: Double
    package var exposed: Double
    /// Bytes that a node sends.
    package var bytesSent: Double
    /// Tokens a second of all nodes over N times those of one.
    package var efficiency: Double

    enum CodingKeys: String, CodingKey {
      case nodes, batch, seconds, compute, exposed, efficiency
      case bytesSent = "bytes_sent"
    }
  }

  package var costs: Costs
  package var link: Link
  /// Trained parameters, and those of the head among them.
  package var parameters: Int
  package var headParameters: Int
  /// Bytes of an element on its way.
  package var wireBytes: Int
  /// How much longer the slowest node computes than the mean.
  package var imbalance: Double
  /// Batches of the data; nil for shares of equal cost.
  package var partitions: SampledPartitions?
  package var ranksPerNode: Int
  /// Weights that their owners send to all others after each step, in float32: Muon's matrices.
  package var broadcastWeights = 0

  package init(
    costs: Costs, link: Link, parameters: Int, headParameters: Int, wireBytes: Int, imbalance: Double,
    partitions: SampledPartitions? = nil, ranksPerNode: Int = 1
  ) {
    (self.partitions, self.ranksPerNode) = (partitions, ranksPerNode)
    (self.costs, self.link, self.parameters, self.headParameters) = (costs, link, parameters, headParameters)
    (self.wireBytes, self.imbalance) = (wireBytes, imbalance)
  }

  package func step(nodes: Int, batch: Int) -> Step {
    let slowest = nodes > 1 ? partitions?.slowest(ranks: nodes * ranksPerNode, tokens: batch) ?? 1 : 1
    let own = slowest * Double(batch) / Double(nodes)
    let compute = own * costs.perToken * (nodes > 1 ? 1 + imbalance : 1) + costs.optimiser
    let micro = min(own, Double(BatchPlan.microBatchTokens))
    let (head, others) = (sum(headParameters, nodes), sum(parameters - headParameters, nodes))
    let back = micro * costs.backward
    let arrival = max(back, head) + others
    let exposed = max(0, arrival - back - micro * costs.teacher) + broadcast(nodes)
    let seconds = compute + exposed
    let alone = Double(batch) * costs.perToken + costs.optimiser
    let sent = Double(2 * parameters * wireBytes + 4 * broadcastWeights) * Double(nodes - 1) / Double(nodes)
    return Step(
      nodes: nodes, batch: batch, seconds: seconds, compute: compute, exposed: exposed, bytesSent: sent,
      efficiency: alone / Double(nodes) / seconds)
  }

  /// Seconds until a node has the weights that others have stepped.
  private func broadcast(_ nodes: Int) -> Double {
    guard nodes > 1 else { return 0 }
    return 4 * Double(broadcastWeights) * Double(nodes - 1) / Double(nodes) / link.bandwidth
  }

  /// Seconds of the sum of this many elements.
  private func sum(_ elements: Int, _ nodes: Int) -> Double {
    guard nodes > 1 else { return 0 }
    let bytes = 2 * Double(elements * wireBytes) * Double(nodes - 1) / Double(nodes)
    let buckets = (elements + GradientBuckets.elements - 1) / GradientBuckets.elements
    return bytes / link.bandwidth + Double(2 * buckets * (nodes - 1)) * link.latency
  }

  /// The smallest batch, a power of two, with which N nodes are at least this efficient; nil when none up to 2²⁴ is.
  package func batch(nodes: Int, efficiency: Double) -> Int? {
    (8..<25).map { 1 << $0 }.first { $0 >= nodes && step(nodes: nodes, batch: $0).efficiency >= efficiency }
  }
}
