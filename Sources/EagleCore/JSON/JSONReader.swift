/// A recursive descent over bytes, with a limit on its depth.
struct JSONReader {
  struct Fault: Error {
    let offset: Int
    let message: String
  }

  private let bytes: UnsafeBufferPointer<UInt8>
  private let depth: Int
  private var at = 0
  private var level = 0

  init(bytes: UnsafeBufferPointer<UInt8>, depth: Int) {
    (self.bytes, self.depth) = (bytes, depth)
  }

  mutating func document() throws(Fault) -> JSON {
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { at = 3 }
    let value = try value("a value")
    skipSpace()
    guard at == bytes.count else { throw expected("the end") }
    return value
  }

  // MARK: values

  private mutating func value(_ expectation: String) throws(Fault) -> JSON {
    skipSpace()
    guard let byte = peek else { throw expected(expectation) }
    switch byte {
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "{"): return try nested { reader throws(Fault) in try reader.object() }
    case UInt8(ascii: "["): return try nested { reader throws(Fault) in try reader.array() }
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: throw expected(expectation)
    }
  }

  private mutating func nested(_ read: (inout JSONReader) throws(Fault) -> JSON) throws(Fault) -> JSON {
    guard level < depth else { throw Fault(offset: at, message: "nested more than \(depth) deep") }
    level += 1
    at += 1
    let value = try read(&self)
    level -= 1
    return value
  }

  private mutating func array() throws(Fault) -> JSON {
    var values: [JSON] = []
    skipSpace()
    if take(UInt8(ascii: "]")) { return .array(values) }
    repeat {
      values.append(try value(values.isEmpty ? "a value or ']'" : "a value"))
      skipSpace()
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "]")) else { throw expected("',' or ']'") }
    return .array(values)
  }

  private mutating func object() throws(Fault) -> JSON {
    var object = JSON.Object()
    skipSpace()
    if take(UInt8(ascii: "}")) { return .object(object) }
    repeat {
      skipSpace()
      guard peek == UInt8(ascii: "\"") else { throw expected(object.isEmpty ? "a key or '}'" : "a key") }
      let key = try string()
      skipSpace()
      guard take(UInt8(ascii: ":")) else { throw expected("':'") }
      object[key] = try value("a value")
      skipSpace()
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "}")) else { throw expected("',' or '}'") }
    return .object(object)
  }

  private mutating func word(_ word: StaticString, _ value: JSON) throws(Fault) -> JSON {
    let end = at + word.utf8CodeUnitCount
    guard end <= bytes.count, bytes[at..<end].elementsEqual(UnsafeBufferPointer(start: word.utf8Start, count: end - at))
    else { throw expected("a value") }
    at = end
    return value
  }

  // number = [ "-" ] ( "0" / digit1-9 *digit ) [ "." 1*digit ] [ ( "e" / "E" ) [ "+" / "-" ] 1*digit ]
  private mutating func number() throws(Fault) -> JSON {
    let start = at
    _ = take(UInt8(ascii: "-"))
    if !take(UInt8(ascii: "0")) { try digits() }
    if take(UInt8(ascii: ".")) { try digits() }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      try digits()
    }
    return .number(String(decoding: bytes[start..<at], as: UTF8.self))
  }

  private mutating func digits() throws(Fault) {
    let start = at
    while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { at += 1 }
    guard at > start else { throw expected("a digit") }
  }

  // MARK: strings

  private mutating func string() throws(Fault) -> String {
    at += 1
    let start = at
    try skipPlain()
    if peek == UInt8(ascii: "\"") {
      defer { at += 1 }
      return try text(bytes[start..<at], from: start)
    }
    var unescaped = Array(bytes[start..<at])
    while peek != UInt8(ascii: "\"") {
      at += 1
      try escape(into: &unescaped)
      let from = at
      try skipPlain()
      unescaped += bytes[from..<at]
    }
    defer { at += 1 }
    return try text(unescaped, from: start)
  }

  /// Advances to the next quote or backslash.
  private mutating func skipPlain() throws(Fault) {
    while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
      guard byte >= 0x20 else { throw expected("an escape for a control character") }
      at += 1
    }
    guard at < bytes.count else { throw expected("'\"' at the end of the string") }
  }

  private mutating func escape(into text: inout [UInt8]) throws(Fault) {
    guard let byte = peek else { throw expected("an escape") }
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0c)
    case UInt8(ascii: "n"): text.append(0x0a)
    case UInt8(ascii: "r"): text.append(0x0d)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      at += 1
      text += Array(String(Character(try scalar())).utf8)
      return
    default: throw expected("one of \"\\/bfnrtu after a backslash")
    }
    at += 1
  }

  /// The character of one escape of four hexadecimal digits, or of two that are a surrogate pair.
  private mutating func scalar() throws(Fault) -> Unicode.Scalar {
    let start = at - 2
    let first = try hexadecimal()
    if let scalar = Unicode.Scalar(first) { return scalar }
    if first < 0xdc00, take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
      let second = try hexadecimal()
      if (0xdc00..<0xe000).contains(second) {
        return Unicode.Scalar(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))!
      }
    }
    throw Fault(offset: start, message: "expected a pair of surrogates, found half of one")
  }

  private mutating func hexadecimal() throws(Fault) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw expected("four hexadecimal digits")
      }
      value = value << 4 | UInt32(digit)
      at += 1
    }
    return value
  }

  private func text(_ units: some Collection<UInt8>, from start: Int) throws(Fault) -> String {
    if let text = String(validating: units, as: UTF8.self) { return text }
    throw Fault(
      offset: firstFault(from: start), message: "expected UTF-8, found byte \(hex(bytes[firstFault(from: start)]))")
  }

  /// The first byte of the string from `start` that is no part of a UTF-8 sequence.
  private func firstFault(from start: Int) -> Int {
    var (decoder, remaining) = (Unicode.UTF8.ForwardParser(), bytes[start..<at].makeIterator())
    var offset = start
    while true {
      switch decoder.parseScalar(from: &remaining) {
      case .valid(let sequence): offset += sequence.count
      case .error, .emptyInput: return min(offset, bytes.count - 1)
      }
    }
  }

  // MARK: bytes

  private var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard peek == byte else { return false }
    at += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { at += 1 }
  }

  private func expected(_ what: String) -> Fault {
    Fault(offset: at, message: "expected \(what), found \(peek.map(name) ?? "the end")")
  }

  private func name(_ byte: UInt8) -> String {
    (0x20..<0x7f).contains(byte) ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(hex(byte))"
  }

  private func hex(_ byte: UInt8) -> String { "0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16) }
}
