import Foundation

/// A value of a JSON document whose shape is not known before it is read.
package enum JSONValue: Decodable, Equatable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  /// A list of whole numbers, which can be long: token ids.
  case integers([Int])
  case list([JSONValue])
  case object([String: JSONValue])

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([Int].self) {
      self = .integers(value)
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .list(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  /// The elements of a list.
  package var elements: [JSONValue]? {
    switch self {
    case .list(let values): values
    case .integers(let values): values.map(JSONValue.integer)
    default: nil
    }
  }

  package var isEmpty: Bool {
    if case .object(let fields) = self { return fields.isEmpty }
    return elements?.isEmpty ?? false
  }

  /// What it is, for errors.
  package var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .integer, .number: "a number"
    case .string: "a string"
    case .integers, .list: "a list"
    case .object: "an object"
    }
  }
}
