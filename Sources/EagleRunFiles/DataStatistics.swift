import EagleCore

/// The statistics of prepared conversations.
package struct DataStatistics: Codable, Equatable, Sendable {
  /// Rows of tokens: conversations, or single answers of those that are rendered otherwise in the middle than at the
  /// end.
  package var conversations = 0
  /// Rows of one answer each, and the conversations that they come from.
  package var answerRows = 0
  package var split = 0
  package var heldOut = 0
  /// User turns.
  package var turns = 0
  package var tokens = 0
  /// Tokens that are trained on: those of assistant turns, where the recipe wants no others.
  package var assistantTokens = 0
  /// Tokens by role, headers included.
  package var tokensByRole: [String: Int] = [:]
  package var languages: [String: PerLanguage] = [:]
  /// Conversations by length: of at most so many tokens, and more than half of that.
  package var lengths: [Int: Int] = [:]
  /// Conversations cut at the greatest length.
  package var cut = 0
  /// Conversations left out, by reason.
  package var leftOut: [String: Int] = [:]
  /// An example for each reason.
  package var leftOutExamples: [String: String] = [:]
  /// Lines that could not be read.
  package var skippedLines = 0
  /// The fraction of the trained tokens that are in the draft vocabulary.
  package var vocabularyCoverage = 0.0
  /// The fraction for other sizes of the draft vocabulary, over all trained tokens.
  package var coverageBySize: [Int: Double] = [:]

  package init() {}

  package struct PerLanguage: Codable, Equatable, Sendable {
    package var conversations = 0
    package var tokens = 0
    package var assistantTokens = 0
    /// The fraction of the trained tokens that are in the draft vocabulary.
    package var vocabularyCoverage = 0.0
    package var coverageBySize: [Int: Double] = [:]

    package init() {}

    enum CodingKeys: String, CodingKey {
      case conversations, tokens
      case assistantTokens = "assistant_tokens"
      case vocabularyCoverage = "vocabulary_coverage"
      case coverageBySize = "coverage_by_size"
    }
  }

  /// One line for people.
  package var summary: String {
    let out = leftOut.isEmpty ? "" : ", left out \(leftOut.values.reduce(0, +))"
    return "\(Format.count(conversations, "conversation")) (\(heldOut) held out\(out)), \(tokens) tokens, "
      + "\(assistantTokens) trained, draft vocabulary covers \(Format.percent(vocabularyCoverage))"
  }

  enum CodingKeys: String, CodingKey {
    case conversations, turns, tokens, languages, lengths, cut
    case answerRows = "answer_rows"
    case split = "split_conversations"
    case heldOut = "held_out"
    case assistantTokens = "assistant_tokens"
    case tokensByRole = "tokens_by_role"
    case leftOut = "left_out"
    case leftOutExamples = "left_out_examples"
    case skippedLines = "skipped_lines"
    case vocabularyCoverage = "vocabulary_coverage"
    case coverageBySize = "coverage_by_size"
  }
}
