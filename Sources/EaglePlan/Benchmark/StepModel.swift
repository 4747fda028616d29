import EagleRunFiles
import EagleTraining
import Foundation

/// Predicts the optimiser step of N nodes from measurements of one node and of the link between two.
///
/// ```
/// partition     b = s B / N tokens of the slowest node,  m = its last micro-batch
/// compute       = b τ (teacher, draft, head, backward) + optimiser
/// sum of p      = 2 p w (N − 1) / N / bandwidth + 2 latency (N − 1) for each of its buckets
/// head ready    when the last backward pass begins;  all others ready when it ends, m τ_back later
/// all there     = max(others ready, head ready + sum of head) + sum of others
/// exposed       = what is left of that after the teacher targets of the next micro-batch, m τ_teacher
/// ```
/// w is the number of bytes of an element in messages. s is the work of the slowest rank divided by an N-th of the
/// whole, for batches of the data's own conversations with the partition of training (`SampledPartitions`). `imbalance`
/// increases the time further, for nodes of unequal speed. With several ranks per node, two-level averaging is assumed,
/// so that a node sends its sum once.
package struct StepModel: Sendable {
  /// The seconds for a token on one node, by part of the work.
  package struct Costs: Sendable {
    package var teacher: Double
    package var forward: Double
    package var head: Double
    package var backward: Double
    /// The seconds of a whole optimiser step.
    package var optimiser: Double

    /// Creates the costs from a training benchmark.
    ///
    /// - Parameter report: the report of one node; `phases` are the seconds of a rank, and its ranks share the tokens
    package init(_ report: BenchmarkReport) {
      let tokens = Double(report.tokens * report.conversations)
      func seconds(_ phase: Phase) -> Double { report.phases[phase.rawValue] ?? 0 }
      teacher = (seconds(.teacher) + seconds(.reading)) / tokens
      (forward, head) = (seconds(.draftForward) / tokens, seconds(.headAndLoss) / tokens)
      (backward, optimiser) = (seconds(.backward) / tokens, seconds(.optimiser))
    }

    /// Creates the costs from computed values.
    ///
    /// - Parameter optimiser: the seconds of the optimiser and of everything else that does not depend on the number of
    ///   tokens
    package init(teacher: Double, forward: Double, head: Double, backward: Double, optimiser: Double) {
      (self.teacher, self.forward, self.head) = (teacher, forward, head)
      (self.backward, self.optimiser) = (backward, optimiser)
    }

    var perToken: Double { teacher + forward + head + backward }
  }

  /// The network link between nodes.
  package struct Link: Sendable {
    /// The bytes per second that a node can send while it receives as many.
    package var bandwidth: Double
    /// The seconds of a collective call without data.
    package var latency: Double

    package init(bandwidth: Double, latency: Double) { (self.bandwidth, self.latency) = (bandwidth, latency) }
  }

  /// One step of N nodes.
  package struct Step: Codable, Sendable {
    package var nodes: Int
    /// The tokens of the global batch.
    package var batch: Int
    package var seconds: Double
    package var compute: Double
    package var exposed: Double
    /// The bytes that a node sends.
    package var bytesSent: Double
    /// The tokens per second of all nodes, divided by N times those of one node.
    package var efficiency: Double

    enum CodingKeys: String, CodingKey {
      case nodes, batch, seconds, compute, exposed, efficiency
      case bytesSent = "bytes_sent"
    }
  }

  package var costs: Costs
  package var link: Link
  /// The trained parameters, and how many of them are in the LM head.
  package var parameters: Int
  package var headParameters: Int
  /// The bytes of an element in messages.
  package var wireBytes: Int
  /// How much longer the slowest node computes than the mean.
  package var imbalance: Double
  /// The partitions of sampled batches; nil assumes shares of equal cost.
  package var partitions: SampledPartitions?
  package var ranksPerNode: Int
  /// The number of weights that their owners broadcast after each step, in float32: Muon's matrices.
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

  /// The seconds until a node has the weights that other nodes have updated.
  private func broadcast(_ nodes: Int) -> Double {
    guard nodes > 1 else { return 0 }
    return 4 * Double(broadcastWeights) * Double(nodes - 1) / Double(nodes) / link.bandwidth
  }

  /// The seconds of an all-reduce of this many elements.
  private func sum(_ elements: Int, _ nodes: Int) -> Double {
    guard nodes > 1 else { return 0 }
    let bytes = 2 * Double(elements * wireBytes) * Double(nodes - 1) / Double(nodes)
    let buckets = (elements + GradientBuckets.elements - 1) / GradientBuckets.elements
    return bytes / link.bandwidth + Double(2 * buckets * (nodes - 1)) * link.latency
  }

  /// The smallest batch, a power of two, with which N nodes are at least this efficient; nil if none up to 2²⁴ is.
  package func batch(nodes: Int, efficiency: Double) -> Int? {
    (8..<25).map { 1 << $0 }.first { $0 >= nodes && step(nodes: nodes, batch: $0).efficiency >= efficiency }
  }
}
