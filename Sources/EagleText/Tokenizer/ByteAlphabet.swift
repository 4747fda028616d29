/// GPT-2's alphabet, which writes every byte as one visible character so that vocabularies are valid text.
///
/// Bytes that are visible in Latin-1 stand for themselves; the other 68 become U+0100, U+0101, … in order of value.
enum ByteAlphabet {
  /// scalars[byte] is the character that stands for the byte.
  static let scalars: [Unicode.Scalar] = {
    var hidden: UInt32 = 0
    return (0..<256).map { byte in
      if isVisible(UInt32(byte)) { return Unicode.Scalar(UInt8(byte)) }
      defer { hidden += 1 }
      return Unicode.Scalar(0x100 + hidden)!
    }
  }()

  /// bytes[scalar] is the byte that the character stands for, -1 when it is not in the alphabet.
  private static let bytes: [Int16] = {
    var table = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { table[Int(scalar.value)] = Int16(byte) }
    return table
  }()

  private static func isVisible(_ byte: UInt32) -> Bool {
    (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
  }

  /// The bytes that `token` stands for, nil when one of its characters is outside the alphabet.
  static func decode(_ token: String) -> [UInt8]? {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(token.utf8.count)
    for scalar in token.unicodeScalars {
      guard scalar.value < 0x144, bytes[Int(scalar.value)] >= 0 else { return nil }
      decoded.append(UInt8(bytes[Int(scalar.value)]))
    }
    return decoded
  }

  /// The visible form of `bytes`.
  static func encode(_ bytes: some Sequence<UInt8>) -> String {
    var visible = String.UnicodeScalarView()
    for byte in bytes { visible.append(scalars[Int(byte)]) }
    return String(visible)
  }
}
