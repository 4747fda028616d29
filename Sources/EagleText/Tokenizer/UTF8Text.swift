/// Valid UTF-8, character by character.
enum UTF8Text {
  /// The character at byte `position`, and the byte after it.
  static func character(at position: Int, of text: UnsafeBufferPointer<UInt8>) -> (scalar: UInt32, end: Int) {
    let lead = UInt32(text[position])
    guard lead >= 0x80 else { return (lead, position + 1) }
    let length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4
    var scalar = lead & (0x7F >> UInt32(length))
    for offset in 1..<length { scalar = scalar << 6 | UInt32(text[position + offset] & 0x3F) }
    return (scalar, position + length)
  }

  /// The byte after the character at `position`, in any bytes.
  static func nextCharacter(in text: UnsafeBufferPointer<UInt8>, after position: Int) -> Int {
    var next = position + 1
    while next < text.count, text[next] & 0xC0 == 0x80 { next += 1 }
    return next
  }
}
