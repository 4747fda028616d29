/// The body of a request to `/v1/completions`.
package struct CompletionRequest: Equatable {
  package enum Prompt: Equatable {
    case text(String)
    case ids([Int])
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
    try fields.require("best_of") { $0 == .integer(1) }
    try fields.require("echo") { $0 == .bool(false) }
    try fields.require("suffix") { $0 == .string("") }
    try fields.finish()
  }

  private static func prompt(_ value: JSONValue) throws -> Prompt {
    switch value {
    case .string(let text) where !text.isEmpty: return .text(text)
    case .integers(let ids) where !ids.isEmpty: return .ids(ids)
    case .list(let prompts) where prompts.count == 1: return try prompt(prompts[0])
    case .list(let prompts) where prompts.count > 1:
      throw APIError.invalid("prompt holds \(prompts.count) prompts, send one a request", param: "prompt")
    case .string, .integers: throw APIError.invalid("prompt is empty", param: "prompt")
    default: throw APIError.invalid("prompt must be a string or a list of token ids", param: "prompt")
    }
  }
}
