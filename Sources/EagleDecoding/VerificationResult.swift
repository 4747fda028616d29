import EagleCore
import EagleDraft

/// The outcome of the target's verification of a proposal.
struct VerificationResult {
  /// The nodes that are kept: the newest token and the accepted ones, each the child of the one before.
  private(set) var path = [0]
  /// The accepted tokens and the target's own one after them; as many as nodes are kept.
  private(set) var tokens: [Int32] = []
  /// The logprobs of each of the tokens; empty where they are not requested.
  private(set) var logprobs: [TokenLogprobs] = []

  init() {}

  /// A token that the target chooses without a proposal.
  init(_ token: Int32, _ raw: RawLogits?) { append(token, raw) }

  /// The number of proposed tokens among `tokens`, which come first.
  var accepted: Int { path.count - 1 }

  /// Verifies a proposal.
  ///
  /// - Parameters:
  ///   - position: the position of the first proposed token
  ///   - logits: the target's logits [V] after a node, which may be overwritten; called in the order of the path
  /// - Throws: `GenerationError` for logits that are not finite
  static func verify(
    _ proposal: Proposal, position: Int, sampler: Sampler, logits: (Int) -> UnsafeMutableBufferPointer<Float>
  ) throws -> VerificationResult {
    var result = VerificationResult()
    if proposal.sampledFrom.isEmpty {
      try result.verifyByTargetChoice(proposal, position: position, sampler: sampler, logits: logits)
    } else {
      try result.verifyBySpeculativeSampling(proposal, position: position, sampler: sampler, logits: logits)
    }
    return result
  }

  /// Chooses as plain decoding would, and continues as long as a child proposes just that token. Exact by itself, for
  /// the most likely token and for sampled ones alike.
  private mutating func verifyByTargetChoice(
    _ proposal: Proposal, position: Int, sampler: Sampler, logits: (Int) -> UnsafeMutableBufferPointer<Float>
  ) throws {
    while true {
      let node = path[path.count - 1]
      let z = logits(node)
      let raw = sampler.keep(z)
      let token = try sampler.choose(z, position: position + tokens.count, path: tokens[...])
      let child = proposal.child(of: node, token: token)
      append(token, raw)
      guard let child else { return }
      path.append(child)
    }
  }

  /// Speculative sampling (arXiv 2211.17192) down a chain: a token x sampled from q is kept with probability
  /// min(1, p(x) / q(x)); otherwise one is sampled from max(p − q, 0), normalised. The result has the distribution p.
  private mutating func verifyBySpeculativeSampling(
    _ proposal: Proposal, position: Int, sampler: Sampler, logits: (Int) -> UnsafeMutableBufferPointer<Float>
  ) throws {
    while true {
      let (node, tokenPosition) = (path[path.count - 1], position + tokens.count)
      let p = logits(node)
      let raw = sampler.keep(p)
      guard let child = proposal.child(of: node) else {
        append(try sampler.choose(p, position: tokenPosition, path: tokens[...]), raw)
        return
      }
      try sampler.makeDistribution(p, path: tokens[...])
      let (token, q) = (proposal.tokens[child], proposal.sampledFrom[child - 1])
      let isAccepted = sampler.random(.acceptance, tokenPosition) * Double(q[token]) < Double(p[Int(token)])
      if !isAccepted, q.subtract(from: p) {
        append(Int32(Sampler.sample(p, sampler.random(.residual, tokenPosition))), raw)
        return
      }
      append(token, raw)
      path.append(child)
    }
  }

  private mutating func append(_ token: Int32, _ raw: RawLogits?) {
    tokens.append(token)
    if let raw { logprobs.append(raw.logprobs(of: token)) }
  }
}

extension DraftDistribution {
  /// Probability of a token of the target's vocabulary.
  subscript(token: Int32) -> Float {
    let index = targetIDs.partitioningIndex { $0 >= token }
    return index < targetIDs.count && targetIDs[index] == token ? probabilities.floats[index] : 0
  }

  /// p = max(p − q, 0). False when nothing is left, which is when both are the same distribution.
  func subtract(from p: UnsafeMutableBufferPointer<Float>) -> Bool {
    for (i, id) in targetIDs.enumerated() { p[Int(id)] = max(0, p[Int(id)] - probabilities.floats[i]) }
    return p.contains { $0 > 0 }
  }
}
