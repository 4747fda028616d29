import EagleCore

/// The body of a request to `/v1/completions`.
package struct CompletionRequest: Equatable {
  package enum Prompt: Equatable {
    case text(String)
    case ids([Int32])
  }

  package let prompt: Prompt
  package let settings: GenerationSettings

  /// The API's own default for this endpoint.
  package static let usualTokens = 16

  package init(_ fields: RequestFields, served: String, draw: () -> UInt64) throws {
    var fields = fields
    guard let value = fields.take("prompt") else { throw APIError.invalid("prompt is missing", param: "prompt") }
    prompt = try Self.prompt(value)
    // Here logprobs is a number, and even 0 asks for some.
    try fields.require("logprobs") { _ in false }
    settings = try GenerationSettings(&fields, served: served, draw: draw)
    try fields.require("best_of") { $0.int == 1 }
    try fields.require("echo") { $0 == false }
    try fields.require("suffix") { $0 == "" }
    try fields.finish()
  }

  private static func prompt(_ value: JSON) throws -> Prompt {
    switch value {
    case .string(let text) where !text.isEmpty: return .text(text)
    case .string, .array([]): throw APIError.invalid("prompt is empty", param: "prompt")
    case .array(let values):
      if let ids = value.int32s { return .ids(ids) }
      guard values.count == 1 else {
        throw APIError.invalid("prompt holds \(values.count) prompts, send one a request", param: "prompt")
      }
      return try prompt(values[0])
    default: throw APIError.invalid("prompt must be a string or a list of token ids", param: "prompt")
    }
  }
}
