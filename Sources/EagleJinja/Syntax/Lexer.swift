/// Splits a source into tokens, with jinja2's rules for whitespace under `trim_blocks` and `lstrip_blocks`: the line
/// end after a block or a comment is removed, and so is the indentation before one that begins a line; `-` removes all
/// whitespace on its side and `+` keeps it.
struct Lexer {
  let source: [UInt8]
  var at = 0
  var tokens: [Token] = []
  /// Whether what was read last ended with a line end.
  var isAtLineStart = true

  static func tokens(of source: [UInt8]) throws -> [Token] {
    var lexer = Lexer(source: source)
    while try lexer.next() {}
    lexer.emit(.end, at: source.count)
    return lexer.tokens
  }

  /// The source with `\n` for every line end, and without the last one.
  static func normalized(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var previous: UInt8 = 0
    for byte in text.utf8 {
      if byte == 0x0d { bytes.append(0x0a) } else if byte != 0x0a || previous != 0x0d { bytes.append(byte) }
      previous = byte
    }
    if bytes.last == 0x0a { bytes.removeLast() }
    return bytes
  }

  mutating func emit(_ kind: Token.Kind, at offset: Int) { tokens.append(Token(kind: kind, offset: offset)) }

  func fault(_ problem: String, at offset: Int) -> Fault { Fault(problem, kind: .syntax, at: offset) }

  // MARK: text and tags

  /// Reads text up to a tag, and the tag. False at the end.
  private mutating func next() throws -> Bool {
    guard at < source.count else { return false }
    let start = at
    guard let tag = nextTag(from: at) else {
      data(start..<source.count, control: nil, isVariable: true)
      at = source.count
      return false
    }
    let sign = byte(tag + 2)
    let control = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") ? sign : nil
    let isVariable = source[tag + 1] == UInt8(ascii: "{")
    data(start..<tag, control: control, isVariable: isVariable)
    at = tag + 2 + (control == nil ? 0 : 1)
    switch source[tag + 1] {
    case UInt8(ascii: "#"): try comment(tag)
    case UInt8(ascii: "{"):
      emit(.variableBegin, at: tag)
      try expression(tag, end: "}}", .variableEnd)
    default: try block(tag)
    }
    return true
  }

  private func nextTag(from start: Int) -> Int? {
    var i = start
    while i + 1 < source.count {
      if source[i] == UInt8(ascii: "{"),
        [UInt8(ascii: "%"), UInt8(ascii: "{"), UInt8(ascii: "#")].contains(source[i + 1])
      {
        return i
      }
      i += 1
    }
    return nil
  }

  /// Emits the text before a tag.
  private mutating func data(_ range: Range<Int>, control: UInt8?, isVariable: Bool) {
    var end = range.upperBound
    if control == UInt8(ascii: "-") {
      while let start = whitespaceStart(before: end), start >= range.lowerBound { end = start }
    } else if control == nil, !isVariable {
      end = withoutIndentation(range)
    }
    if end > range.lowerBound { emit(.data(Array(source[range.lowerBound..<end])), at: range.lowerBound) }
  }

  private func withoutIndentation(_ range: Range<Int>) -> Int {
    var start = range.upperBound
    while start > range.lowerBound, source[start - 1] != 0x0a { start -= 1 }
    guard start > range.lowerBound || isAtLineStart else { return range.upperBound }
    var i = start
    while i < range.upperBound {
      let length = whitespaceLength(at: i)
      guard length > 0 else { return range.upperBound }
      i += length
    }
    return start
  }

  private mutating func comment(_ start: Int) throws {
    while at + 1 < source.count {
      if matches("#}") {
        let control = at > start + 2 ? source[at - 1] : 0
        at += 2
        closeTag(control: control)
        return
      }
      at += 1
    }
    throw fault("the comment has no end '#}'", at: start)
  }

  /// Skips what is removed after the end of a block or a comment.
  private mutating func closeTag(control: UInt8) {
    if control == UInt8(ascii: "-") {
      skipWhitespace()
    } else if control != UInt8(ascii: "+"), byte(at) == 0x0a {
      at += 1
    }
    isAtLineStart = source[at - 1] == 0x0a
  }

  private mutating func block(_ start: Int) throws {
    if let content = rawContent() {
      at = content
      return try raw(start)
    }
    emit(.blockBegin, at: start)
    try expression(start, end: "%}", .blockEnd)
  }

  /// Where the content of `{% raw %}` begins, if the block is one.
  private func rawContent() -> Int? {
    var reader = self
    reader.skipWhitespace()
    guard reader.skip("raw") else { return nil }
    reader.skipWhitespace()
    if reader.skip("-%}") { reader.skipWhitespace() } else if !reader.skip("%}") { return nil }
    return reader.at
  }

  private mutating func raw(_ start: Int) throws {
    isAtLineStart = source[at - 1] == 0x0a
    let content = at
    while at + 1 < source.count {
      if matches("{%") {
        var reader = self
        reader.at += 2
        let control: UInt8? = reader.skip("-") ? UInt8(ascii: "-") : reader.skip("+") ? UInt8(ascii: "+") : nil
        reader.skipWhitespace()
        if reader.skip("endraw") {
          reader.skipWhitespace()
          let sign: UInt8 = reader.skip("-") ? UInt8(ascii: "-") : reader.skip("+") ? UInt8(ascii: "+") : 0
          if reader.skip("%}") {
            data(content..<at, control: control, isVariable: false)
            at = reader.at
            return closeTag(control: sign)
          }
        }
      }
      at += 1
    }
    throw fault("'raw' has no '{% endraw %}'", at: start)
  }

  // MARK: inside a tag

  private mutating func expression(_ start: Int, end: String, _ kind: Token.Kind) throws {
    var open: [(UInt8, Int)] = []
    while at < source.count {
      if open.isEmpty, try closes(end, kind) { return }
      let length = whitespaceLength(at: at)
      if length > 0 { at += length } else { try token(&open) }
    }
    throw fault("the tag has no end '\(end)'", at: start)
  }

  private mutating func closes(_ end: String, _ kind: Token.Kind) throws -> Bool {
    let first = source[at]
    let isSigned = first == UInt8(ascii: "-") || first == UInt8(ascii: "+") && kind == .blockEnd
    guard matches(end, at: isSigned ? at + 1 : at) else { return false }
    emit(kind, at: at)
    at += end.utf8.count + (isSigned ? 1 : 0)
    if kind == .blockEnd {
      closeTag(control: isSigned ? first : 0)
    } else {
      if isSigned { skipWhitespace() }
      isAtLineStart = source[at - 1] == 0x0a
    }
    return true
  }

  // MARK: characters

  func byte(_ i: Int) -> UInt8? { i < source.count ? source[i] : nil }

  func matches(_ text: String, at i: Int? = nil) -> Bool {
    var i = i ?? at
    for unit in text.utf8 {
      guard i < source.count, source[i] == unit else { return false }
      i += 1
    }
    return true
  }

  mutating func skip(_ text: String) -> Bool {
    guard matches(text) else { return false }
    at += text.utf8.count
    return true
  }

  mutating func skipWhitespace() {
    while at < source.count {
      let length = whitespaceLength(at: at)
      guard length > 0 else { return }
      at += length
    }
  }

  /// Bytes of the whitespace character at a place, 0 for another one.
  func whitespaceLength(at i: Int) -> Int {
    let first = source[i]
    if first < 0x80 { return Unicode.Scalar(first).isPythonSpace ? 1 : 0 }
    let scalar = scalar(at: i)
    return scalar.isPythonSpace ? UTF8.width(scalar) : 0
  }

  private func whitespaceStart(before end: Int) -> Int? {
    guard end > 0 else { return nil }
    var start = end - 1
    while start > 0, source[start] & 0xc0 == 0x80 { start -= 1 }
    return whitespaceLength(at: start) > 0 ? start : nil
  }

  func scalar(at i: Int) -> Unicode.Scalar {
    var decoder = UTF8()
    var iterator = source[i..<min(i + 4, source.count)].makeIterator()
    guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return "\u{fffd}" }
    return scalar
  }
}

extension Unicode.Scalar {
  /// Whether Python's `str.isspace`, `strip` and `\s` count it as whitespace.
  var isPythonSpace: Bool {
    switch value {
    case 0x09...0x0d, 0x1c...0x20, 0x85, 0xa0, 0x1680, 0x2000...0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000: true
    default: false
    }
  }
}
