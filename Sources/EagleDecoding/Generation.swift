import EagleRunFiles
import EagleTensor

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

  package init(id: Int32, isDrafted: Bool = false, logprobs: TokenLogprobs? = nil) {
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

/// A text at work.
struct Text {
  typealias OnToken = (GeneratedToken) -> TokenDecision

  let prompt: [Int32]
  let options: DecodingOptions
  let start: ContinuousClock.Instant
  /// When the prompt had been read.
  var decodingStart: ContinuousClock.Instant?
  private(set) var ids: [Int32] = []
  private(set) var passes: [Generation.Pass] = []
  private(set) var finish: FinishReason?
  var failure: (any Error)?
  var sampler: Sampler
  var statistics = DecodingStatistics()

  /// - Parameter reused: tokens of the prompt that a cache holds
  init(prompt: [Int32], options: DecodingOptions, reused: Int, start: ContinuousClock.Instant) {
    (self.prompt, self.options, self.start) = (prompt, options, start)
    sampler = Sampler(options.sampling, prompt: prompt)
    (statistics.promptTokens, statistics.cachedTokens) = (prompt.count, reused)
    if options.maxNewTokens <= 0 {
      finish = .length
      (statistics.promptTokens, statistics.cachedTokens) = (0, 0)
    }
  }

  var isOver: Bool { finish != nil || failure != nil }

  var newest: Int32 { ids.last! }

  /// Tokens at these positions of prompt and text together.
  func tokens(_ positions: ClosedRange<Int>) -> [Int32] {
    positions.map { $0 < prompt.count ? prompt[$0] : ids[$0 - prompt.count] }
  }

  /// Adds what one pass gave, one token after the other until the text ends. Returns how many were added.
  ///
  /// - Parameters:
  ///   - logprobs: one for each token, or none
  ///   - drafted: how many of them, the first ones, a draft had proposed
  @discardableResult
  mutating func append(
    _ tokens: [Int32], _ logprobs: [TokenLogprobs], drafted: Int, _ onToken: OnToken
  ) -> Int {
    let isFirst = ids.isEmpty
    var added = 0
    for (index, token) in tokens.enumerated() where finish == nil {
      ids.append(token)
      sampler.append(token)
      added += 1
      if options.stopIDs.contains(token) {
        finish = .stop
      } else if ids.count >= options.maxNewTokens {
        finish = .length
      }
      let new = GeneratedToken(
        id: token, isDrafted: added <= drafted, logprobs: logprobs.isEmpty ? nil : logprobs[index])
      if case .stop(let cause) = onToken(new) { finish = finish ?? FinishReason(cause) }
    }
    passes.append(.init(tokens: added, accepted: min(added, drafted)))
    statistics.newTokens = ids.count
    if !isFirst { statistics.decodedTokens += added }
    return added
  }

  mutating func stopClock(_ now: ContinuousClock.Instant) {
    if let decodingStart {
      statistics.decodeSeconds = decodingStart.duration(to: now).inSeconds
    } else if finish == nil {
      statistics.promptSeconds = start.duration(to: now).inSeconds
    }
  }
}

/// Seconds of a pass, by what they were spent on.
struct RoundTimes {
  var draft = 0.0
  var target = 0.0
  var choice = 0.0
}

extension DecodingStatistics {
  mutating func count(_ proposal: Proposal, _ verdict: Verdict, _ times: RoundTimes, hasDraft: Bool) {
    draftSeconds += times.draft
    targetSeconds += times.target
    choiceSeconds += times.choice
    targetPasses += 1
    targetRows += proposal.rows.count
    if hasDraft { countRound(proposal, accepted: verdict.path.count - 1) }
  }
}

extension Rows {
  /// Some rows of a float32 matrix, in increasing order: a view of them where they are the first ones.
  static func chosen(_ x: Tensor, _ rows: [Int]) -> Tensor {
    rows == Array(0..<rows.count) ? x.slice(0..<rows.count) : select(x, rows.map(Int32.init))
  }
}
