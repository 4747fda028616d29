import EagleCore
import Foundation

/// The fields of a request's body. Readers take each known field once; the fields that are left are unknown.
package struct RequestFields {
  private let values: JSON.Object
  private var taken: Set<String> = []
  /// The prefix of field names in errors: `stream_options.`, or nothing for the body itself.
  private let path: String

  /// - Throws: `APIError` for a body that is not a JSON object
  package init(_ body: some ContiguousBytes) throws {
    let value = try Self.read(body)
    guard let object = value.object else { throw APIError.invalid("the body is \(value.kind): send a JSON object") }
    self.init(object)
  }

  package init(_ values: JSON.Object, path: String = "") {
    (self.values, self.path) = (values, path)
  }

  private static func read(_ body: some ContiguousBytes) throws -> JSON {
    guard body.withUnsafeBytes({ !$0.isEmpty }) else {
      throw APIError.invalid("the body is empty: send a JSON object")
    }
    do {
      return try JSON.read(body)
    } catch {
      throw APIError.invalid("the body is no valid JSON: \(error)")
    }
  }

  /// The value of a field; null counts as absent.
  package mutating func take(_ name: String) -> JSON? {
    taken.insert(name)
    guard let value = values[name], value != .null else { return nil }
    return value
  }

  package mutating func string(_ name: String) throws -> String? {
    guard let value = take(name) else { return nil }
    guard let text = value.string else { throw wrong(name, value, expected: "a string") }
    return text
  }

  package mutating func bool(_ name: String) throws -> Bool? {
    guard let value = take(name) else { return nil }
    guard let flag = value.bool else { throw wrong(name, value, expected: "true or false") }
    return flag
  }

  package mutating func integer(_ name: String, _ range: ClosedRange<Int>) throws -> Int? {
    guard let value = take(name) else { return nil }
    guard let number = value.int else { throw wrong(name, value, expected: "a whole number of 64 bits") }
    guard range.contains(number) else {
      let bounds =
        range.upperBound == .max
        ? "\(range.lowerBound) or more" : "from \(range.lowerBound) to \(range.upperBound)"
      throw invalid("must be \(bounds), not \(number)", name)
    }
    return number
  }

  package mutating func number(_ name: String, _ range: ClosedRange<Double>) throws -> Double? {
    guard let value = take(name) else { return nil }
    guard let number = value.double else { throw wrong(name, value, expected: "a finite number") }
    guard range.contains(number) else {
      throw invalid("must be from \(range.lowerBound) to \(range.upperBound), not \(number)", name)
    }
    return number
  }

  /// A string, or a list of strings.
  package mutating func strings(_ name: String) throws -> [String]? {
    guard let value = take(name) else { return nil }
    if let text = value.string { return [text] }
    guard let elements = value.array else { throw wrong(name, value, expected: "a string or a list of strings") }
    return try elements.map {
      guard let text = $0.string else { throw wrong(name, $0, expected: "a list of strings") }
      return text
    }
  }

  package mutating func object(_ name: String) throws -> RequestFields? {
    guard let value = take(name) else { return nil }
    guard let object = value.object else { throw wrong(name, value, expected: "an object") }
    return RequestFields(object, path: "\(path)\(name).")
  }

  /// Takes fields of the API that have no effect here.
  package mutating func ignore(_ names: String...) { taken.formUnion(names) }

  /// Takes a field if its value has no effect here; a field with another value stays unread.
  package mutating func ignore(_ name: String, where isHarmless: (JSON) -> Bool) {
    if values[name].map(isHarmless) ?? true { taken.insert(name) }
  }

  /// Takes a field, and throws if its value asks for unsupported behaviour.
  package mutating func require(_ name: String, _ isHarmless: (JSON) -> Bool) throws {
    guard let value = take(name), !isHarmless(value) else { return }
    throw APIError.invalid(
      "\(path)\(name) is not supported with this value", param: path + name, code: "unsupported_value")
  }

  /// The fields that no reader has taken, in order, as errors name them. Fields that are null are left out.
  package var unread: [String] {
    values.entries.filter { !taken.contains($0.key) && $0.value != .null }.map { path + $0.key }
  }

  private func wrong(_ name: String, _ value: JSON, expected: String) -> APIError {
    var given = value.kind
    if case .number(let spelling) = value { given = String(spelling.prefix(40)) }
    return invalid("must be \(expected), not \(given)", name)
  }

  private func invalid(_ problem: String, _ name: String) -> APIError {
    .invalid("\(path)\(name) \(problem)", param: path + name)
  }
}
