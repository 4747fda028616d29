import Foundation

/// A metadata key of a GGUF file with its encoded value, ready to be written.
///
///     GGUFField.string("general.architecture", "eagle3")
package struct GGUFField: Sendable, Equatable {
  package let key: String
  /// The number of the value's type and the value, as they are in a file.
  let value: Data

  init(key: String, value: Data) { (self.key, self.value) = (key, value) }

  private init(_ key: String, _ type: ValueType, _ content: Data) {
    self.init(key: key, value: Self.bytes(type.rawValue) + content)
  }

  package static func string(_ key: String, _ text: String) -> GGUFField { GGUFField(key, .string, encoded(text)) }

  package static func bool(_ key: String, _ flag: Bool) -> GGUFField { GGUFField(key, .bool, Data([flag ? 1 : 0])) }

  package static func uint32(_ key: String, _ value: Int) -> GGUFField { GGUFField(key, .uint32, bytes(UInt32(value))) }

  package static func float32(_ key: String, _ value: Float) -> GGUFField {
    GGUFField(key, .float32, bytes(value.bitPattern))
  }

  package static func strings(_ key: String, _ texts: [String]) -> GGUFField {
    array(key, of: .string, texts.map(encoded))
  }

  package static func int32s(_ key: String, _ values: [Int32]) -> GGUFField {
    array(key, of: .int32, values.map { bytes($0) })
  }

  package static func float32s(_ key: String, _ values: [Float]) -> GGUFField {
    array(key, of: .float32, values.map { bytes($0.bitPattern) })
  }

  /// The format's numbers of value types.
  private enum ValueType: UInt32 {
    case uint32 = 4
    case int32, float32, bool, string, array
  }

  private static func array(_ key: String, of type: ValueType, _ items: [Data]) -> GGUFField {
    var content = bytes(type.rawValue) + bytes(UInt64(items.count))
    for item in items { content += item }
    return GGUFField(key, .array, content)
  }

  /// Length and UTF-8 bytes.
  static func encoded(_ text: String) -> Data { bytes(UInt64(text.utf8.count)) + Data(text.utf8) }

  static func bytes(_ value: some FixedWidthInteger) -> Data { withUnsafeBytes(of: value.littleEndian) { Data($0) } }
}
