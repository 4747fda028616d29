import EagleCore
import EagleText

/// The body of a request to `/v1/completions`.
package struct CompletionRequest: Equatable {
  package enum Prompt: Equatable, Sendable {
    case text(String)
    case ids([Int32])
  }

  /// The prompts, each decoded as a sequence of its own; each choice of the response has the index of its prompt.
  package let prompts: [Prompt]
  package let settings: GenerationSettings

  /// The API's own default of `max_tokens` for this endpoint.
  package static let defaultMaxTokens = 16

  package init(_ fields: RequestFields, _ rules: RequestRules, makeSeed: () -> UInt64) throws {
    var fields = fields
    guard let value = fields.take("prompt") else { throw APIError.invalid("prompt is missing", param: "prompt") }
    prompts = try Self.prompts(value, rules)
    var settings = try GenerationSettings(&fields, rules, makeSeed: makeSeed)
    try Self.readLogprobs(&fields, &settings)
    try fields.require("best_of") { $0.int == 1 }
    try fields.require("echo") { $0 == false }
    try fields.require("suffix") { $0 == "" }
    try settings.finish(fields, rules)
    self.settings = settings
  }

  /// Here `logprobs` is a number; 0 asks for the logprob of the chosen token only.
  private static func readLogprobs(_ fields: inout RequestFields, _ settings: inout GenerationSettings) throws {
    guard fields.take("logprobs") != false else { return }
    settings.sampling.logprobs = try fields.integer("logprobs", 0...20)
  }

  private static func prompts(_ value: JSON, _ rules: RequestRules) throws -> [Prompt] {
    guard let values = value.array, !values.isEmpty, values.allSatisfy({ $0.string != nil || $0.array != nil }) else {
      return [try prompt(value, rules)]
    }
    guard values.count <= rules.maxPrompts else {
      throw APIError.invalid(
        "prompt holds \(values.count) prompts, \(rules.maxPrompts) are possible in a request", param: "prompt")
    }
    return try values.map { try prompt($0, rules) }
  }

  private static func prompt(_ value: JSON, _ rules: RequestRules) throws -> Prompt {
    switch value {
    case .string(let text) where !text.isEmpty: return .text(text)
    case .string, .array([]): throw APIError.invalid("prompt is empty", param: "prompt")
    case .array(let values):
      if let ids = value.int32s, ids.allSatisfy({ rules.isToken(Int($0)) }) { return .ids(ids) }
      let invalid = values.first { !($0.int.map(rules.isToken) ?? false) } ?? .null
      throw APIError.invalid(
        "prompt holds \(invalid.text().prefix(40)), which is no token id below \(rules.vocabularySize)", param: "prompt"
      )
    default: throw APIError.invalid("prompt must be a string, a list of token ids, or a list of these", param: "prompt")
    }
  }
}
