import EagleDecoding
import EagleRunFiles

/// The finish reason, the token counts and the times of a finished sequence.
package struct Outcome: Sendable, Equatable {
  /// The finish reason as OpenAI's API spells it.
  package enum Finish: String, Sendable {
    case stop, length

    /// A stop string counts as a stop; nil for a cancelled sequence.
    init?(_ reason: FinishReason) {
      switch reason {
      case .stop, .stopString: self = .stop
      case .length: self = .length
      case .cancelled: return nil
      }
    }
  }

  package let finish: Finish
  package let statistics: DecodingStatistics
  /// Seconds that it waited in the queue.
  package let queueSeconds: Double
  /// Accepted drafted tokens of the answer. `statistics` also counts those that a round accepted after the answer's
  /// end.
  package var acceptedTokens = 0
  /// Tokens of the reasoning; nil for a model that marks none.
  package var reasoningTokens: Int?

  package init(finish: Finish, statistics: DecodingStatistics, queueSeconds: Double) {
    (self.finish, self.statistics, self.queueSeconds) = (finish, statistics, queueSeconds)
  }

  /// The sum over the sequences of one request, with the longest of their queue times.
  static func sum(_ outcomes: [Outcome]) -> Outcome {
    var statistics = DecodingStatistics()
    for outcome in outcomes { statistics += outcome.statistics }
    var sum = Outcome(
      finish: outcomes.first?.finish ?? .stop, statistics: statistics,
      queueSeconds: outcomes.map(\.queueSeconds).max() ?? 0)
    sum.acceptedTokens = outcomes.reduce(0) { $0 + $1.acceptedTokens }
    let reasoning = outcomes.compactMap(\.reasoningTokens)
    if !reasoning.isEmpty { sum.reasoningTokens = reasoning.reduce(0, +) }
    return sum
  }
}

/// Tokens of a request, as OpenAI counts them.
package struct Usage: Encodable {
  package let promptTokens: Int
  package let completionTokens: Int
  package let totalTokens: Int
  package let promptTokensDetails: PromptDetails
  package let completionTokensDetails: CompletionDetails

  package struct PromptDetails: Encodable { let cachedTokens: Int }

  /// Drafted tokens that were accepted and rejected, and reasoning tokens if the model marks its reasoning.
  package struct CompletionDetails: Encodable {
    let acceptedPredictionTokens: Int
    let rejectedPredictionTokens: Int
    let reasoningTokens: Int?
  }

  package init(_ outcome: Outcome) {
    let statistics = outcome.statistics
    promptTokens = statistics.promptTokens
    completionTokens = statistics.newTokens
    totalTokens = promptTokens + completionTokens
    promptTokensDetails = PromptDetails(cachedTokens: statistics.cachedTokens)
    completionTokensDetails = CompletionDetails(
      acceptedPredictionTokens: outcome.acceptedTokens,
      rejectedPredictionTokens: statistics.draftedTokens - outcome.acceptedTokens,
      reasoningTokens: outcome.reasoningTokens)
  }
}

/// The extension field `eagle` at the end of a response: acceptance length, speed and times.
package struct AnswerReport: Encodable {
  package let accLength: Double
  package let tokensPerSecond: Double
  package let promptSeconds: Double
  package let queueSeconds: Double

  package init(_ outcome: Outcome) {
    accLength = Self.rounded(outcome.statistics.acceptanceLength)
    tokensPerSecond = Self.rounded(outcome.statistics.tokensPerSecond)
    promptSeconds = Self.rounded(outcome.statistics.promptSeconds)
    queueSeconds = Self.rounded(outcome.queueSeconds)
  }

  private static func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
}
