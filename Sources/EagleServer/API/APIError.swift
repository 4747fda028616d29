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

/// JSON in one line; property names are converted to snake case.
func encodeJSON(_ value: some Encodable) -> Data {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  encoder.keyEncodingStrategy = .convertToSnakeCase
  // Encoding cannot fail: the values of this module are strings, integers and finite numbers.
  return (try? encoder.encode(value)) ?? Data("{}".utf8)
}
