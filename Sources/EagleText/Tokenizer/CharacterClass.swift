/// Single characters of UTF-8 text, and what they are.
enum CharacterClass {
  /// The character that begins at byte `position`, and the byte after it.
  static func character(at position: Int, of text: UnsafeBufferPointer<UInt8>) -> (scalar: Unicode.Scalar, end: Int) {
    var end = position + 1
    while end < text.count, text[end] & 0xC0 == 0x80 { end += 1 }
    return (scalar(text[position..<end]), end)
  }

  /// The character that ends before byte `end`, and its first byte.
  static func character(
    before end: Int, of text: UnsafeBufferPointer<UInt8>
  ) -> (scalar: Unicode.Scalar, start: Int) {
    var start = end - 1
    while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
    return (scalar(text[start..<end]), start)
  }

  /// Whether neither the character before the range nor the one after it belongs to a word.
  static func isBesideNoWord(_ range: Range<Int>, of text: UnsafeBufferPointer<UInt8>) -> Bool {
    if range.lowerBound > 0, isWord(character(before: range.lowerBound, of: text).scalar) { return false }
    return range.upperBound == text.count || !isWord(character(at: range.upperBound, of: text).scalar)
  }

  /// `\w` by Unicode's rules (UTS #18, annex C) and the tables of Unicode 16, which Hugging Face tokenizers has.
  private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    let properties = scalar.properties
    guard let age = properties.age, age.major <= 16 else { return false }
    if properties.isAlphabetic || properties.isJoinControl { return true }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
    default: return false
    }
  }

  private static func scalar(_ character: Slice<UnsafeBufferPointer<UInt8>>) -> Unicode.Scalar {
    String(decoding: character, as: UTF8.self).unicodeScalars.first ?? "\u{FFFD}"
  }
}
