/// Unicode's composed form NFC of UTF-8 text. Most text is in that form already and is only looked at.
enum ComposedText {
  /// The composed bytes of valid UTF-8, nil when `text` is in that form already. Tells `alignment`, where there is one,
  /// what they come from.
  static func composed(_ text: UnsafeBufferPointer<UInt8>, _ alignment: inout TextAlignment?) -> [UInt8]? {
    // Below U+0300 (lead bytes up to 0xCB) nothing composes with what precedes it.
    guard !text.allSatisfy({ $0 < 0xCC }) else { return nil }
    var result: [UInt8] = []
    var copied = 0
    while let range = nextUnsettled(in: text, from: copied) {
      alignment?.append(at: result.count, from: copied, isCopied: true)
      result.append(contentsOf: text[copied..<range.lowerBound])
      let composed = CanonicalComposition.composed(String(decoding: text[range], as: UTF8.self)).utf8
      let isCopied = composed.elementsEqual(text[range])
      alignment?.append(at: result.count, from: range.lowerBound, isCopied: isCopied)
      result.append(contentsOf: composed)
      copied = range.upperBound
    }
    guard copied > 0 else { return nil }
    alignment?.append(at: result.count, from: copied, isCopied: true)
    result.append(contentsOf: text[copied...])
    return result
  }

  /// The next stretch that NFC may change: from the settled character before the first unsettled one, with which
  /// that may compose, to the settled character after it.
  private static func nextUnsettled(in text: UnsafeBufferPointer<UInt8>, from start: Int) -> Range<Int>? {
    var position = start
    var lastSettled = start
    var first: Int?
    while position < text.count {
      let (scalar, end) = UTF8Text.character(at: position, of: text)
      if isSettled(scalar) {
        if let first { return first..<position }
        lastSettled = position
      } else if first == nil {
        first = lastSettled
      }
      position = end
    }
    return first.map { $0..<text.count }
  }

  /// Whether a character is in NFC by itself, begins a new sequence and never composes with what precedes it.
  private static func isSettled(_ scalar: UInt32) -> Bool {
    if scalar < 0x300 { return true }
    if scalar < 0x10000 { return settledTable[Int(scalar)] }
    return settled.suffix(2).contains { $0.contains(scalar) }
  }

  private static let settledTable: [Bool] = {
    var table = [Bool](repeating: false, count: 0x10000)
    for range in settled.dropLast(2) { for scalar in range { table[Int(scalar)] = true } }
    return table
  }()

  /// Ranges where every character is settled: letters of the common scripts, punctuation, symbols, kana, ideographs,
  /// Hangul syllables, and above U+FFFF emoji and more ideographs. What is not listed takes the slow way, no wrong one.
  private static let settled: [ClosedRange<UInt32>] = [
    0x370...0x373, 0x376...0x377, 0x37B...0x37D, 0x388...0x482, 0x48A...0x590, 0x5BE...0x5BE, 0x5D0...0x5F4,
    0x606...0x60F, 0x61B...0x64A, 0x660...0x66F, 0x671...0x6D5, 0x904...0x939, 0xE01...0xE30, 0xE32...0xE33,
    0xE40...0xE47, 0x10A0...0x10FF, 0x1E00...0x1F70, 0x2010...0x205E, 0x2070...0x20CF, 0x2100...0x2125,
    0x212C...0x2328, 0x232B...0x2ADB, 0x2ADD...0x2CEE, 0x2E00...0x2FFF, 0x3001...0x3029, 0x3030...0x3098,
    0x309B...0xA4CF, 0xAC00...0xD7A3, 0xFE00...0xFE0F, 0xFF01...0xFFEF, 0x1F300...0x1FAFF, 0x20000...0x2A6DF,
  ]
}
