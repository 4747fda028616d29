import EagleCore
import Foundation

/// An error in a text, a tokenizer or a data file: one sentence that says what, where and what to do.
public struct TextError: Error, CustomStringConvertible, LocalizedError, Equatable {
  /// The sentence: what is wrong, where, and what to do.
  public let description: String
  public var errorDescription: String? { description }

  /// Creates an error with its sentence.
  public init(_ description: String) {
    self.description = description
  }

  /// The error for a JSON document in `path` that does not have the expected shape, with the location of the fault.
  init(decoding error: any Error, path: String) {
    description = "\(path): \(TextError.reason(decoding: error))"
  }

  /// The error for a record that `JSON.read` refuses, with its reason. A record may be an element of a list, so the
  /// location is counted in its bytes.
  init(notJSON error: any Error) {
    let place = (error as? JSONError).map { " at byte \($0.offset + 1): \($0.message)" }
    description = "not valid JSON\(place ?? ": \(error)")"
  }

  /// The JSON decoder's complaint as one line: the location inside the document, then what is wrong there.
  static func reason(decoding error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    switch error {
    case .keyNotFound(let key, let context):
      return "\(location(context.codingPath))the field \"\(key.stringValue)\" is missing"
    case .typeMismatch(let type, let context):
      return "\(location(context.codingPath))expected \(name(of: type))"
    case .valueNotFound(let type, let context):
      return "\(location(context.codingPath))expected \(name(of: type)), found null"
    case .dataCorrupted(let context):
      guard !context.codingPath.isEmpty else { return "not valid JSON" }
      return "\(location(context.codingPath))\(context.debugDescription)"
    @unknown default:
      return "\(error)"
    }
  }

  private static func location(_ codingPath: [any CodingKey]) -> String {
    guard !codingPath.isEmpty else { return "" }
    let steps = codingPath.map { key in key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }
    return "at \(steps.joined().drop { $0 == "." }): "
  }

  private static func name(of type: any Any.Type) -> String {
    if type == String.self { return "a string" }
    if type == Bool.self { return "true or false" }
    if type is any BinaryInteger.Type { return "a whole number" }
    if type is any BinaryFloatingPoint.Type { return "a number" }
    return "\(type)".hasPrefix("Array") ? "a list" : "an object"
  }
}
