import Hummingbird

/// The pages of other origins that may send requests (CORS of the Fetch standard).
package struct CrossOrigin: Sendable {
  private let origins: Set<String>

  package init(_ origins: [String]) { self.origins = Set(origins) }

  /// The header fields that allow a page to read the response; none for other origins.
  package func headers(for origin: String?) -> [String: String] {
    guard !origins.isEmpty else { return [:] }
    if origins.contains("*") { return ["Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": exposed] }
    guard let origin, origins.contains(origin) else { return ["Vary": "Origin"] }
    return [
      "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": exposed, "Vary": "Origin",
    ]
  }

  /// The header fields of the answer to a CORS preflight, which a browser sends before JSON or a key.
  ///
  /// - Parameter asked: header fields that the page wants to send
  package func preflight(for origin: String?, asked: String?) -> [String: String] {
    var headers = headers(for: origin)
    guard headers["Access-Control-Allow-Origin"] != nil else { return headers }
    headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST"
    headers["Access-Control-Allow-Headers"] = asked.flatMap(Self.tokens) ?? "Authorization, Content-Type"
    headers["Access-Control-Allow-Private-Network"] = "true"
    headers["Access-Control-Max-Age"] = "600"
    return headers
  }

  private var exposed: String { "X-Eagle-Ignored, Retry-After" }

  /// The list, if it contains only names of header fields; otherwise nil.
  private static func tokens(_ list: String) -> String? {
    let isList = list.utf8.allSatisfy {
      switch $0 {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"): true
      case UInt8(ascii: ","), UInt8(ascii: " "): true
      default: false
      }
    }
    return isList && !list.isEmpty ? list : nil
  }
}

extension Response {
  /// The response with more header fields.
  func adding(_ fields: [String: String]) -> Response {
    var response = self
    for (name, value) in fields {
      if let name = HTTPFields.Element.Name(name) { response.headers[name] = value }
    }
    return response
  }
}
