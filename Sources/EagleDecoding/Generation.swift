import EagleDraft
import EagleRunFiles

/// The reason why a generation ended.
public enum FinishReason: String, Sendable, Codable {
  /// A stop id was generated.
  case stop
  /// The limit of new tokens was reached.
  case length
  /// The caller found a stop string.
  case stopString = "stop_string"
  /// The caller wanted no more tokens: a user interrupted, or a client has gone.
  case cancelled

  init(_ cause: StopCause) {
    switch cause {
    case .stopString: self = .stopString
    case .cancelled: self = .cancelled
    }
  }
}

/// A caller's cause to end a generation before its stop id or limit.
public enum StopCause: Sendable, Equatable {
  /// A stop string is complete.
  case stopString
  /// The caller wants no more tokens.
  case cancelled
}

/// A caller's decision after a token.
public enum TokenDecision: Sendable, Equatable {
  /// The generation continues.
  case proceed
  /// The generation ends with this token.
  case stop(StopCause)
}

/// A generated token.
public struct GeneratedToken: Sendable, Equatable {
  /// The token id.
  public let id: Int32
  /// Whether a draft had proposed the token.
  public let isDrafted: Bool
  /// The token's logprobs, where `SamplingOptions.logprobs` requests them.
  public let logprobs: TokenLogprobs?

  /// Creates a token.
  public init(id: Int32, isDrafted: Bool = false, logprobs: TokenLogprobs? = nil) {
    (self.id, self.isDrafted, self.logprobs) = (id, isDrafted, logprobs)
  }
}

/// The result of a generation: its tokens, with their passes and counts.
public struct Generation: Sendable {
  /// The ids of the new tokens, with the stop id where one ended the generation.
  public let ids: [Int32]
  /// The target passes that yielded the tokens, in order; the first is the prefill.
  public let passes: [Pass]
  /// The reason why the generation ended.
  public let finish: FinishReason
  /// The counts and seconds of the generation.
  public let statistics: DecodingStatistics

  /// The tokens that one target pass yielded.
  public struct Pass: Sendable, Equatable {
    /// The number of tokens.
    public let tokens: Int
    /// The number of drafted tokens among them, which come first.
    public let accepted: Int

    /// Creates the counts of a pass.
    public init(tokens: Int, accepted: Int) { (self.tokens, self.accepted) = (tokens, accepted) }
  }
}
