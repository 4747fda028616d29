import Foundation

/// An error response in the format of OpenAI's errors.
package struct APIError: Error, Equatable {
  package let status: Int
  package let message: String
  package let type: String
  /// The field that caused the error.
  package let param: String?
  package let code: String?
  /// Additional header fields of the response.
  package var headers: [String: String] = [:]

  package static func invalid(_ message: String, param: String? = nil, code: String? = nil, status: Int = 400)
    -> APIError
  {
    APIError(status: status, message: message, type: "invalid_request_error", param: param, code: code)
  }

  package static func unknownRoute(_ path: String) -> APIError {
    // Responses are not stored, so none can be retrieved, cancelled or deleted.
    let stored = path.contains("/responses/") ? "responses are not stored; " : ""
    return invalid(
      "there is no \(path.prefix(200)): \(stored)see /v1/chat/completions, /v1/responses, /v1/completions, /v1/models, "
        + "/health, /metrics", status: 404)
  }

  package static func wrongMethod(_ method: String, _ path: String, allowed: String) -> APIError {
    var error = invalid("\(path) takes \(allowed), not \(method)", code: "method_not_allowed", status: 405)
    error.headers["Allow"] = allowed
    return error
  }

  package static func unknownModel(_ name: String, served: [String]) -> APIError {
    let names = served.map { "'\($0)'" }.joined(separator: ", ")
    return invalid(
      "the model '\(name.prefix(200))' is not served here, \(names) is", param: "model", code: "model_not_found",
      status: 404)
  }

  package static func tooLarge(limit: Int) -> APIError {
    invalid("the body has more than \(limit) bytes", code: "body_too_large", status: 413)
  }

  package static var wrongKey: APIError {
    var error = invalid(
      "a valid API key is needed: send it as `Authorization: Bearer KEY`", code: "invalid_api_key", status: 401)
    error.headers["WWW-Authenticate"] = "Bearer"
    return error
  }

  package static func queueFull(waiting: Int, texts: Int, capacity: Int, retryAfter: Int) -> APIError {
    let many = texts > 1 ? ", and this request has \(texts) prompts" : ""
    var error = APIError(
      status: 429,
      message: "\(waiting) texts wait already\(many): the queue holds \(capacity), try again later",
      type: "server_busy",
      param: nil, code: "queue_full")
    error.headers["Retry-After"] = String(retryAfter)
    return error
  }

  package static var stopping: APIError {
    var error = APIError(
      status: 503, message: "the server is stopping", type: "server_error", param: nil, code: "stopping")
    error.headers["Retry-After"] = "10"
    return error
  }

  package static func failed(_ message: String) -> APIError {
    APIError(status: 500, message: message, type: "server_error", param: nil, code: nil)
  }

  /// A client that disconnected. No client reads this error, but the metrics count it.
  package static var clientGone: APIError {
    APIError(status: 499, message: "the client has gone", type: "server_error", param: nil, code: nil)
  }

  /// `{"error": {"message", "type", "param", "code"}}`
  package var body: Data { encodeJSON(Envelope(error: self)) }

  private struct Envelope: Encodable { let error: APIError }
}

extension APIError: Encodable {
  private enum CodingKeys: String, CodingKey { case message, type, param, code }

  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(message, forKey: .message)
    try fields.encode(type, forKey: .type)
    try fields.encode(param, forKey: .param)
    try fields.encode(code, forKey: .code)
  }
}

/// An event of a stream. Some clients end lines at U+0085, U+2028 and U+2029, too, which JSON allows in strings: they
/// are escaped.
///
/// - Parameters:
///   - json: a value in one line
///   - type: the name of the event; nil for none
func serverSentEvent(_ json: Data, type: String? = nil) -> Data {
  var event = Data((type.map { "event: \($0)\n" } ?? "").utf8) + Data("data: ".utf8)
  var rest = json[...]
  while let first = rest.firstIndex(where: { $0 == 0xC2 || $0 == 0xE2 }) {
    event += rest[..<first]
    rest = rest[first...]
    let known = lineEnds.first { rest.starts(with: $0.character.utf8) }
    event += known.map { Data($0.escape.utf8) } ?? Data(rest.prefix(1))
    rest = rest.dropFirst(known?.character.utf8.count ?? 1)
  }
  return event + rest + Data("\n\n".utf8)
}

private let lineEnds: [(character: String, escape: String)] = [
  ("\u{85}", #"\u0085"#), ("\u{2028}", #"\u2028"#), ("\u{2029}", #"\u2029"#),
]

/// JSON in one line; property names are converted to snake case.
func encodeJSON(_ value: some Encodable) -> Data {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  encoder.keyEncodingStrategy = .convertToSnakeCase
  // Encoding cannot fail: the values of this module are strings, integers and finite numbers.
  return (try? encoder.encode(value)) ?? Data("{}".utf8)
}
