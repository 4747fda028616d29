/// Names, literals and operators.
extension Lexer {
  private static let symbols = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "(", ")", "[", "]", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
  ]
  private static let closing: [UInt8: UInt8] = [
    UInt8(ascii: ")"): UInt8(ascii: "("), UInt8(ascii: "]"): UInt8(ascii: "["), UInt8(ascii: "}"): UInt8(ascii: "{"),
  ]

  mutating func token(_ open: inout [(UInt8, Int)]) throws {
    let (start, first) = (at, source[at])
    switch first {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
    case UInt8(ascii: "'"), UInt8(ascii: "\""): try string(first)
    default:
      if isNamePart(at) { return try name() }
      guard let symbol = Self.symbols.first(where: { matches($0) }) else {
        throw fault("unexpected character '\(scalar(at: at))'", at: start)
      }
      try balance(first, &open)
      at += symbol.utf8.count
      emit(.symbol(symbol), at: start)
    }
  }

  private func balance(_ byte: UInt8, _ open: inout [(UInt8, Int)]) throws {
    if Self.closing.values.contains(byte) { open.append((byte, at)) }
    guard let opening = Self.closing[byte] else { return }
    guard open.popLast()?.0 == opening else { throw fault("unexpected '\(Unicode.Scalar(byte))'", at: at) }
  }

  private func isNamePart(_ i: Int) -> Bool {
    let byte = source[i]
    if byte < 0x80 { return isWord(byte) }
    let properties = scalar(at: i).properties
    return properties.isXIDContinue || properties.isAlphabetic || properties.numericType != nil
  }

  private func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  private mutating func name() throws {
    let start = at
    while at < source.count, isNamePart(at) { at += source[at] < 0x80 ? 1 : UTF8.width(scalar(at: at)) }
    let name = String(decoding: source[start..<at], as: UTF8.self)
    guard source[start] < 0x80 || scalar(at: start).properties.isXIDStart else {
      throw fault("'\(name)' is no name", at: start)
    }
    emit(.name(name), at: start)
  }

  // MARK: numbers

  private mutating func number() throws {
    let start = at
    let isFraction = start > 0 && source[start - 1] == UInt8(ascii: ".")
    if !isFraction, let end = floatEnd(start) {
      at = end
      let spelling = digits(start..<end)
      guard let value = Double(spelling) else { throw fault("'\(spelling)' is no number", at: start) }
      return emit(.float(value), at: start)
    }
    let (radix, prefix) = radix(start)
    at = start + prefix
    skipDigits(radix)
    let spelling = digits(start + prefix..<at)
    if prefix == 0, source[start] == UInt8(ascii: "0"), spelling.contains(where: { $0 != "0" }) {
      throw fault("a number does not begin with 0", at: start)
    }
    if let value = Int(spelling, radix: radix) { return emit(.integer(value), at: start) }
    guard radix == 10 else { throw fault("the number is beyond 64 bits", at: start) }
    emit(.bigInteger(spelling), at: start)
  }

  /// The end of a float with a point or an exponent at a place.
  private func floatEnd(_ start: Int) -> Int? {
    var reader = self
    reader.skipDigits(10)
    let whole = reader.at
    if reader.byte(whole) == UInt8(ascii: "."), reader.isDigit(whole + 1) {
      reader.at = whole + 1
      reader.skipDigits(10)
    }
    let mark = reader.at
    if let byte = reader.byte(mark), byte | 0x20 == UInt8(ascii: "e") {
      let sign = reader.byte(mark + 1)
      let exponent = mark + (sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") ? 2 : 1)
      if reader.isDigit(exponent) {
        reader.at = exponent
        reader.skipDigits(10)
      }
    }
    return reader.at > whole ? reader.at : nil
  }

  private func isDigit(_ i: Int) -> Bool {
    guard let byte = byte(i) else { return false }
    return (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private func radix(_ start: Int) -> (Int, Int) {
    guard source[start] == UInt8(ascii: "0"), let mark = byte(start + 1), let next = byte(start + 2) else {
      return (10, 0)
    }
    let radix = [UInt8(ascii: "x"): 16, UInt8(ascii: "o"): 8, UInt8(ascii: "b"): 2][mark | 0x20]
    guard let radix, Int(String(Unicode.Scalar(next)), radix: radix) != nil else { return (10, 0) }
    return (radix, 2)
  }

  /// Digits with single underscores between them.
  private mutating func skipDigits(_ radix: Int) {
    func isDigit(_ i: Int) -> Bool {
      guard let byte = byte(i), byte < 0x80 else { return false }
      return Int(String(Unicode.Scalar(byte)), radix: radix) != nil
    }
    while isDigit(at) || byte(at) == UInt8(ascii: "_") && isDigit(at + 1) { at += 1 }
  }

  private func digits(_ range: Range<Int>) -> String {
    String(decoding: source[range].filter { $0 != UInt8(ascii: "_") }, as: UTF8.self)
  }

  // MARK: strings

  private mutating func string(_ quote: UInt8) throws {
    let start = at
    var bytes: [UInt8] = []
    at += 1
    while let byte = byte(at), byte != quote {
      at += 1
      if byte == UInt8(ascii: "\\") { try escape(into: &bytes, start) } else { bytes.append(byte) }
    }
    guard byte(at) == quote else { throw fault("the string has no end", at: start) }
    at += 1
    emit(.string(String(decoding: bytes, as: UTF8.self)), at: start)
  }

  private mutating func escape(into bytes: inout [UInt8], _ start: Int) throws {
    guard let byte = byte(at) else { throw fault("the string has no end", at: start) }
    at += 1
    switch byte {
    case UInt8(ascii: "n"): bytes.append(0x0a)
    case UInt8(ascii: "t"): bytes.append(0x09)
    case UInt8(ascii: "r"): bytes.append(0x0d)
    case UInt8(ascii: "a"): bytes.append(0x07)
    case UInt8(ascii: "b"): bytes.append(0x08)
    case UInt8(ascii: "f"): bytes.append(0x0c)
    case UInt8(ascii: "v"): bytes.append(0x0b)
    case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): bytes.append(byte)
    case 0x0a: break
    case UInt8(ascii: "x"): try hexadecimal(2, into: &bytes)
    case UInt8(ascii: "u"): try hexadecimal(4, into: &bytes)
    case UInt8(ascii: "U"): try hexadecimal(8, into: &bytes)
    case UInt8(ascii: "N"): throw fault("a character by its name, '\\N', is not supported", at: at - 2)
    case UInt8(ascii: "0")...UInt8(ascii: "7"): octal(into: &bytes)
    default: bytes += [UInt8(ascii: "\\"), byte]
    }
  }

  private mutating func hexadecimal(_ count: Int, into bytes: inout [UInt8]) throws {
    let place = at - 2
    let digits = source[min(at, source.count)..<min(at + count, source.count)]
    guard digits.count == count, let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16),
      let scalar = Unicode.Scalar(value)
    else { throw fault("the escape needs \(count) hexadecimal digits of a character", at: place) }
    at += count
    bytes += Array(String(scalar).utf8)
  }

  private mutating func octal(into bytes: inout [UInt8]) {
    var value: UInt32 = 0
    at -= 1
    for _ in 0..<3 {
      guard let byte = byte(at), (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(byte) else { break }
      value = value * 8 + UInt32(byte - UInt8(ascii: "0"))
      at += 1
    }
    bytes += Array(String(Unicode.Scalar(value).map(Character.init) ?? "\u{fffd}").utf8)
  }
}
