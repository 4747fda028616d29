/// The bytes of a protocol buffer message, field by field: as much of that format as events need.
struct ProtobufMessage {
  private(set) var bytes: [UInt8] = []

  /// A field of type int64, or an enumeration.
  mutating func add(_ field: Int, integer value: Int) {
    addVariable(UInt64(field << 3))
    addVariable(UInt64(bitPattern: Int64(value)))
  }

  mutating func add(_ field: Int, double value: Double) {
    addVariable(UInt64(field << 3 | 1))
    bytes += littleEndian(value.bitPattern)
  }

  mutating func add(_ field: Int, float value: Float) {
    addVariable(UInt64(field << 3 | 5))
    bytes += littleEndian(value.bitPattern)
  }

  mutating func add(_ field: Int, text: String) { add(field, content: Array(text.utf8)) }

  mutating func add(_ field: Int, message: ProtobufMessage) { add(field, content: message.bytes) }

  private mutating func add(_ field: Int, content: [UInt8]) {
    addVariable(UInt64(field << 3 | 2))
    addVariable(UInt64(content.count))
    bytes += content
  }

  /// A varint: seven bits a byte, lowest first; all bytes but the last have the highest bit set.
  private mutating func addVariable(_ value: UInt64) {
    var value = value
    while value > 0x7f {
      bytes.append(UInt8(value & 0x7f | 0x80))
      value >>= 7
    }
    bytes.append(UInt8(value))
  }
}

/// The bytes of a whole number, lowest first.
func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}
