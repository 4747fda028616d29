import EagleDraft
import EagleRunFiles

/// The reason why a text ended.
public enum FinishReason: String, Sendable, Codable {
  /// A stop id was generated.
  case stop
  /// The limit of new tokens was reached.
  case length
  /// The caller found a stop string.
  case stopString = "stop_string"
  /// The caller wanted no more: a user interrupted, or a client has gone.
  case cancelled

  init(_ cause: StopCause) {
    switch cause {
    case .stopString: self = .stopString
    case .cancelled: self = .cancelled
    }
  }
}

/// A caller's cause to end a text before its stop id or limit.
public enum StopCause: Sendable, Equatable {
  /// A stop string is complete.
  case stopString
  /// Nobody wants more of the text.
  case cancelled
}

/// A caller's decision after a token.
public enum TokenDecision: Sendable, Equatable {
  case proceed
  /// The text ends with this token.
  case stop(StopCause)
}

/// A new token of a text.
public struct GeneratedToken: Sendable, Equatable {
  public let id: Int32
  /// Whether a draft had proposed it.
  public let isDrafted: Bool
  /// The token's logprobs, where `SamplingOptions.logprobs` requests them.
  public let logprobs: TokenLogprobs?

  public init(id: Int32, isDrafted: Bool = false, logprobs: TokenLogprobs? = nil) {
    (self.id, self.isDrafted, self.logprobs) = (id, isDrafted, logprobs)
  }
}

/// A generated text and what it took.
public struct Generation: Sendable {
  public let ids: [Int32]
  /// The target's passes that gave them, in order; the first is the prompt's.
  public let passes: [Pass]
  public let finish: FinishReason
  public let statistics: DecodingStatistics

  /// What one pass gave to the text.
  public struct Pass: Sendable, Equatable {
    public let tokens: Int
    /// How many of them, the first ones, a draft had proposed.
    public let accepted: Int

    public init(tokens: Int, accepted: Int) { (self.tokens, self.accepted) = (tokens, accepted) }
  }
}
