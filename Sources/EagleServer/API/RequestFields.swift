import Foundation

/// The fields of a request's body. Each is taken once; what is left in the end is unknown, and an error.
package struct RequestFields {
  private var values: [String: JSONValue]

  /// - Throws: `APIError` for a body that is no JSON object
  package init(_ body: Data) throws {
    guard !body.isEmpty else { throw APIError.invalid("the body is empty: send a JSON object") }
    do {
      let value = try JSONDecoder().decode(JSONValue.self, from: body)
      guard case .object(let fields) = value else {
        throw APIError.invalid("the body is \(value.kind): send a JSON object")
      }
      values = fields
    } catch let error as APIError {
      throw error
    } catch {
      throw APIError.invalid("the body is no valid JSON")
    }
  }

  package init(_ values: [String: JSONValue]) { self.values = values }

  /// The value of a field; null counts as absent.
  package mutating func take(_ name: String) -> JSONValue? {
    guard let value = values.removeValue(forKey: name), value != .null else { return nil }
    return value
  }

  package mutating func string(_ name: String) throws -> String? {
    guard let value = take(name) else { return nil }
    guard case .string(let text) = value else { throw Self.wrong(name, value, "a string") }
    return text
  }

  package mutating func bool(_ name: String) throws -> Bool? {
    guard let value = take(name) else { return nil }
    guard case .bool(let flag) = value else { throw Self.wrong(name, value, "true or false") }
    return flag
  }

  package mutating func integer(_ name: String, _ range: ClosedRange<Int>) throws -> Int? {
    guard let value = take(name) else { return nil }
    guard case .integer(let number) = value else { throw Self.wrong(name, value, "a whole number") }
    guard range.contains(number) else {
      let bounds =
        range.upperBound == .max
        ? "\(range.lowerBound) or more" : "from \(range.lowerBound) to \(range.upperBound)"
      throw APIError.invalid("\(name) must be \(bounds), not \(number)", param: name)
    }
    return number
  }

  package mutating func number(_ name: String, _ range: ClosedRange<Double>) throws -> Double? {
    guard let value = take(name) else { return nil }
    let number: Double
    switch value {
    case .integer(let whole): number = Double(whole)
    case .number(let real): number = real
    default: throw Self.wrong(name, value, "a number")
    }
    guard range.contains(number) else {
      throw APIError.invalid(
        "\(name) must be from \(range.lowerBound) to \(range.upperBound), not \(number)", param: name)
    }
    return number
  }

  /// A string, or a list of strings.
  package mutating func strings(_ name: String) throws -> [String]? {
    guard let value = take(name) else { return nil }
    if case .string(let text) = value { return [text] }
    guard let elements = value.elements else { throw Self.wrong(name, value, "a string or a list of strings") }
    return try elements.map {
      guard case .string(let text) = $0 else { throw Self.wrong(name, $0, "a list of strings") }
      return text
    }
  }

  package mutating func object(_ name: String) throws -> RequestFields? {
    guard let value = take(name) else { return nil }
    guard case .object(let fields) = value else { throw Self.wrong(name, value, "an object") }
    return RequestFields(fields)
  }

  /// Takes a field of the API that changes nothing here, or that is only allowed to say what happens anyway.
  package mutating func ignore(_ names: String...) { for name in names { values[name] = nil } }

  /// Takes a field that is only allowed to say what happens anyway.
  package mutating func require(_ name: String, _ isHarmless: (JSONValue) -> Bool) throws {
    guard let value = take(name), !isHarmless(value) else { return }
    throw APIError.invalid("\(name) is not supported with this value", param: name, code: "unsupported_value")
  }

  /// - Throws: `APIError` for a field that nobody has taken
  package func finish(in place: String = "") throws {
    guard let name = values.keys.sorted().first(where: { values[$0] != .null }) else { return }
    throw APIError.invalid(
      "unknown field \(place)\(name)", param: place + name, code: "unknown_parameter")
  }

  private static func wrong(_ name: String, _ value: JSONValue, _ expected: String) -> APIError {
    .invalid("\(name) must be \(expected), not \(value.kind)", param: name)
  }
}
