import EagleModels

/// The tokens that a pass yielded, and the cache entries that belong to them.
struct PassOutput {
  let result: VerificationResult
  /// The entries of the pass, nil for the one that completes a prompt: those are kept already.
  let entries: (tokens: [Int32], states: TargetStates)?
  /// The number of tokens that the caller has taken.
  private(set) var taken = 0

  init(_ result: VerificationResult, entries: (tokens: [Int32], states: TargetStates)? = nil) {
    (self.result, self.entries) = (result, entries)
  }

  var isEmpty: Bool { taken == result.tokens.count }

  mutating func take() -> GeneratedToken {
    defer { taken += 1 }
    return GeneratedToken(
      id: result.tokens[taken], isDrafted: taken < result.accepted,
      logprobs: result.logprobs.isEmpty ? nil : result.logprobs[taken])
  }
}
