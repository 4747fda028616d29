/// A metadata value of a GGUF file.
package enum GGUFValue: Sendable, Equatable {
  case unsigned(UInt64)
  case signed(Int64)
  /// float32 values keep their exact value.
  case float(Double)
  case bool(Bool)
  case string(String)
  case array([GGUFValue])

  package var string: String? {
    guard case .string(let value) = self else { return nil }
    return value
  }

  /// An integer of either sign that fits.
  package var int: Int? {
    switch self {
    case .unsigned(let value): Int(exactly: value)
    case .signed(let value): Int(exactly: value)
    default: nil
    }
  }

  package var float: Double? {
    guard case .float(let value) = self else { return nil }
    return value
  }

  package var bool: Bool? {
    guard case .bool(let value) = self else { return nil }
    return value
  }

  package var array: [GGUFValue]? {
    guard case .array(let values) = self else { return nil }
    return values
  }

  /// What the value is, for messages.
  var kind: String {
    switch self {
    case .unsigned, .signed: "an integer"
    case .float: "a float"
    case .bool: "a bool"
    case .string: "a string"
    case .array: "an array"
    }
  }
}
