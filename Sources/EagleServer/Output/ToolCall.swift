import EagleCore
import Foundation

/// A call of a tool, as a model wrote it.
package struct ToolCall: Sendable, Equatable {
  package let name: String
  /// A JSON object as text.
  package let arguments: String

  package init(name: String, arguments: String) {
    (self.name, self.arguments) = (name, arguments)
  }

  /// A call from `{"name": ..., "arguments": {...}}`.
  ///
  /// - Parameters:
  ///   - keys: the keys that may hold the arguments
  ///   - names: the tools of the request; a call of any other tool is not a call
  ///   - needsArguments: whether a value without arguments is not a call; otherwise its arguments are `{}`
  init?(_ value: JSON, keys: [String], names: Set<String>, needsArguments: Bool) {
    guard let fields = value.object, let name = fields["name"]?.string, names.contains(name) else { return nil }
    guard let key = keys.first(where: { fields[$0] != nil }), let arguments = fields[key] else {
      guard !needsArguments else { return nil }
      self.init(name: name, arguments: "{}")
      return
    }
    guard let object = Self.object(arguments) else { return nil }
    self.init(name: name, arguments: JSON.object(object).text())
  }

  /// The arguments as an object; the model may also write them as a string that contains the object.
  static func object(_ arguments: JSON) -> JSON.Object? {
    if let object = arguments.object { return object }
    guard let text = arguments.string else { return nil }
    return (try? JSON.read(Data(text.utf8)))?.object
  }
}

/// Finds the end of a JSON array or object in a stream of bytes. It checks nothing else.
struct JSONExtent: Sendable {
  private var depth = 0
  private var isInString = false
  private var isEscaped = false

  /// - Returns: whether the value ends with this byte
  mutating func isEnd(_ byte: UInt8) -> Bool {
    if isInString {
      if isEscaped {
        isEscaped = false
      } else if byte == UInt8(ascii: "\\") {
        isEscaped = true
      } else if byte == UInt8(ascii: "\"") {
        isInString = false
      }
      return false
    }
    switch byte {
    case UInt8(ascii: "\""): isInString = true
    case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
    case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
    default: break
    }
    return depth <= 0
  }
}
