import EagleCore

/// Variables of a chat template, by name: `{enable_thinking: false, reasoning_effort: low}`.
public struct TemplateOptions: Equatable, Sendable {
  /// The value of each variable, by name.
  public var values: [String: Value] = [:]

  /// The value of a variable.
  public enum Value: Equatable, Sendable {
    /// A truth value, such as `enable_thinking: false`.
    case flag(Bool)
    /// A number, which templates see as an integer where it is whole.
    case number(Double)
    /// A string, such as `reasoning_effort: low`.
    case text(String)
  }

  /// Creates options from the value of each variable.
  public init(_ values: [String: Value] = [:]) { self.values = values }

  /// The variables in the order of their names.
  package var json: JSON.Object {
    JSON.Object(values.sorted { $0.key < $1.key }.map { ($0.key, $0.value.json) })
  }
}

extension TemplateOptions: Codable {
  public init(from decoder: any Decoder) throws {
    values = try decoder.singleValueContainer().decode([String: Value].self)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(values)
  }
}

extension TemplateOptions.Value {
  /// The value of a command line: `true` and `false` are flags, numbers are numbers, all else is text.
  package init(spelled text: String) {
    switch text {
    case "true", "True": self = .flag(true)
    case "false", "False": self = .flag(false)
    default: self = Double(text).map { .number($0) } ?? .text(text)
    }
  }
}

extension TemplateOptions.Value: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let flag = try? container.decode(Bool.self) {
      self = .flag(flag)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else {
      self = .text(try container.decode(String.self))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .flag(let flag): try container.encode(flag)
    case .number(let number): try container.encode(number)
    case .text(let text): try container.encode(text)
    }
  }

  fileprivate var json: JSON {
    switch self {
    case .flag(let flag): .bool(flag)
    case .number(let number): Int(exactly: number).map { JSON($0) } ?? JSON(number) ?? .null
    case .text(let text): .string(text)
    }
  }
}
