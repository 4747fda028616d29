/// A JSON value (RFC 8259) whose shape is not known before it is read.
///
/// Numbers keep their spelling and objects the order of their keys, so that what was read can be written as it was.
///
/// ```swift
/// let value = try JSON.read(bytes)
/// let limit = value.object?["max_tokens"]?.int
/// ```
package enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  /// A number as it was spelled, `-1.50e3`. Up to 15 characters take no memory of their own.
  case number(String)
  case string(String)
  case array([JSON])
  case object(Object)

  package init(_ value: Int) { self = .number(String(value)) }

  /// Nil for a non-finite value, which JSON cannot say.
  package init?(_ value: Double) {
    guard value.isFinite else { return nil }
    self = .number(String(value))
  }

  // MARK: what it is

  package var isNull: Bool { self == .null }

  package var bool: Bool? { if case .bool(let flag) = self { flag } else { nil } }
  package var string: String? { if case .string(let text) = self { text } else { nil } }
  package var array: [JSON]? { if case .array(let values) = self { values } else { nil } }
  package var object: Object? { if case .object(let object) = self { object } else { nil } }

  /// Whether it is an array or an object without elements.
  package var isEmpty: Bool {
    switch self {
    case .array(let values): values.isEmpty
    case .object(let object): object.isEmpty
    default: false
    }
  }

  /// The number where it is finite as a double.
  package var double: Double? {
    guard case .number(let spelling) = self, let value = Double(spelling), value.isFinite else { return nil }
    return value
  }

  /// The number where it is whole and fits: `2`, `2.0` and `2e0`, not `2.5`.
  package var int: Int? { whole() }

  /// The same without a sign: up to 2^64 − 1.
  package var unsigned: UInt64? { whole() }

  /// Token ids: an array of whole numbers that fit in 32 bits. Nil for anything else.
  package var int32s: [Int32]? {
    guard case .array(let values) = self else { return nil }
    var ids: [Int32] = []
    ids.reserveCapacity(values.count)
    for value in values {
      guard let id: Int32 = value.whole() else { return nil }
      ids.append(id)
    }
    return ids
  }

  private func whole<Number: FixedWidthInteger>() -> Number? {
    guard case .number(let spelling) = self else { return nil }
    if let value = Number(spelling) { return value }
    // Digits alone that do not fit are not read as a double, which would round them.
    guard spelling.utf8.contains(where: { ".eE".utf8.contains($0) }), let real = Double(spelling) else { return nil }
    return Number(exactly: real)
  }

  /// The kind of value, for errors.
  package var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .number: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  package init(stringLiteral text: String) { self = .string(text) }
  package init(booleanLiteral flag: Bool) { self = .bool(flag) }
  package init(integerLiteral value: Int) { self.init(value) }
  package init(nilLiteral: ()) { self = .null }
  package init(arrayLiteral values: JSON...) { self = .array(values) }
  package init(dictionaryLiteral entries: (String, JSON)...) { self = .object(Object(entries)) }
}
