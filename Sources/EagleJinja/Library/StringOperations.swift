/// Python's operations on strings, which keep the origin of each character.
extension Text {
  // MARK: search

  /// The byte ranges of a pattern's occurrences that do not overlap, within a range; the pattern is not empty.
  func occurrences(of pattern: [UInt8], in range: Range<Int>, limit: Int = .max) -> [Int] {
    var (found, at) = ([Int](), range.lowerBound)
    guard let first = pattern.first, pattern.count <= range.count else { return found }
    let last = range.upperBound - pattern.count
    bytes.withUnsafeBufferPointer { bytes in
      while at <= last, found.count < limit {
        if bytes[at] == first, bytes[at..<at + pattern.count].elementsEqual(pattern) {
          found.append(at)
          at += pattern.count
        } else {
          at += 1
        }
      }
    }
    return found
  }

  /// The last occurrences, in descending order.
  func lastOccurrences(of pattern: [UInt8], in range: Range<Int>, limit: Int = .max) -> [Int] {
    var (found, end) = ([Int](), range.upperBound)
    while end - pattern.count >= range.lowerBound, found.count < limit {
      if bytes[end - pattern.count..<end].elementsEqual(pattern) {
        end -= pattern.count
        found.append(end)
      } else {
        end -= 1
      }
    }
    return found
  }

  func contains(_ other: Text) -> Bool {
    other.isEmpty || !occurrences(of: other.bytes, in: 0..<bytes.count, limit: 1).isEmpty
  }

  /// The bytes between two code points given as Python's slices are: negative ones count from the end. Nil where the
  /// start is after the end of the text or of the range.
  func byteRange(_ start: Int?, _ stop: Int?) -> Range<Int>? {
    if start == nil, stop == nil { return 0..<bytes.count }
    let starts = boundaries
    let count = starts.count - 1
    func index(_ i: Int) -> Int { i < 0 ? max(i + count, 0) : i }
    let (from, to) = (index(start ?? 0), min(index(stop ?? count), count))
    return from <= to && from <= count ? starts[from]..<starts[to] : nil
  }

  func codePoint(atByte byte: Int) -> Int { bytes[..<byte].reduce(0) { $0 + ($1 & 0xc0 != 0x80 ? 1 : 0) } }

  // MARK: stripping

  /// The text without the characters of a set at its ends; Python's whitespace without a set.
  func stripped(_ set: Set<Unicode.Scalar>?, left: Bool = true, right: Bool = true) -> Text {
    func isStripped(_ scalar: Unicode.Scalar) -> Bool { set.map { $0.contains(scalar) } ?? scalar.isPythonSpace }
    var (start, end) = (0, bytes.count)
    while left, start < end, let (scalar, length) = scalar(at: start), isStripped(scalar) { start += length }
    while right, start < end {
      var first = end - 1
      while first > start, bytes[first] & 0xc0 == 0x80 { first -= 1 }
      guard let (scalar, _) = scalar(at: first), isStripped(scalar) else { break }
      end = first
    }
    return slice(start..<end)
  }

  func scalar(at byte: Int) -> (Unicode.Scalar, Int)? {
    let first = bytes[byte]
    if first < 0x80 { return (Unicode.Scalar(first), 1) }
    var decoder = UTF8()
    var iterator = bytes[byte..<min(byte + 4, bytes.count)].makeIterator()
    guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return nil }
    return (scalar, UTF8.width(scalar))
  }

  // MARK: splitting

  func split(by separator: Text, limit: Int) -> [Text] {
    var (pieces, start) = ([Text](), 0)
    for place in occurrences(of: separator.bytes, in: 0..<bytes.count, limit: limit < 0 ? .max : limit) {
      pieces.append(slice(start..<place))
      start = place + separator.bytes.count
    }
    return pieces + [slice(start..<bytes.count)]
  }

  func splitFromEnd(by separator: Text, limit: Int) -> [Text] {
    var (pieces, end) = ([Text](), bytes.count)
    for place in lastOccurrences(of: separator.bytes, in: 0..<bytes.count, limit: limit < 0 ? .max : limit) {
      pieces.append(slice(place + separator.bytes.count..<end))
      end = place
    }
    return (pieces + [slice(0..<end)]).reversed()
  }

  /// Words between whitespace; after `limit` words the rest is one.
  func words(limit: Int) -> [Text] {
    var words: [Text] = []
    var rest = stripped(nil, right: false)
    while !rest.isEmpty {
      if limit >= 0, words.count == limit { return words + [rest] }
      let end = rest.scalars.first { $0.scalar.isPythonSpace }?.range.lowerBound ?? rest.bytes.count
      words.append(rest.slice(0..<end))
      rest = rest.slice(end..<rest.bytes.count).stripped(nil, right: false)
    }
    return words
  }

  /// All words, in linear time.
  func words() -> [Text] {
    var (words, start) = ([Text](), nil as Int?)
    for (scalar, range) in scalars {
      if scalar.isPythonSpace {
        if let from = start { words.append(slice(from..<range.lowerBound)) }
        start = nil
      } else if start == nil {
        start = range.lowerBound
      }
    }
    if let start { words.append(slice(start..<bytes.count)) }
    return words
  }

  func wordsFromEnd(limit: Int) -> [Text] {
    var words: [Text] = []
    var rest = stripped(nil, left: false)
    while !rest.isEmpty {
      if limit >= 0, words.count == limit { return ([rest] + words.reversed()) }
      let start = rest.scalars.last { $0.scalar.isPythonSpace }?.range.upperBound ?? 0
      words.append(rest.slice(start..<rest.bytes.count))
      rest = rest.slice(0..<start).stripped(nil, left: false)
    }
    return words.reversed()
  }

  /// Lines by Python's `splitlines`; `\r\n` is one line end.
  func lines(keepingEnds: Bool = false) -> [Text] {
    var (lines, start) = ([Text](), 0)
    let all = scalars
    var i = 0
    while i < all.count {
      var end = all[i].range.upperBound
      if all[i].scalar.isLineEnd {
        if all[i].scalar == "\r", i + 1 < all.count, all[i + 1].scalar == "\n" {
          i += 1
          end = all[i].range.upperBound
        }
        let content =
          all[i].scalar == "\n" && end - 2 >= start && bytes[end - 2] == 0x0d ? end - 2 : all[i].range.lowerBound
        lines.append(slice(start..<(keepingEnds ? end : content)))
        start = end
      }
      i += 1
    }
    if start < bytes.count { lines.append(slice(start..<bytes.count)) }
    return lines
  }

  // MARK: making new texts

  func replacing(_ old: Text, with new: Text, limit: Int) -> Text {
    let limit = limit < 0 ? Int.max : limit
    let places =
      old.isEmpty ? Array(boundaries.prefix(limit)) : occurrences(of: old.bytes, in: 0..<bytes.count, limit: limit)
    guard !places.isEmpty else { return plain }
    var (builder, start) = (TextBuilder(), 0)
    for place in places {
      builder.append(slice(start..<place))
      builder.append(new)
      start = place + old.bytes.count
    }
    builder.append(slice(start..<bytes.count))
    return builder.text
  }

  func mapped(_ change: (Int, Unicode.Scalar) -> String) -> Text {
    var builder = TextBuilder()
    for (i, item) in scalars.enumerated() {
      builder.append(change(i, item.scalar), origin(at: item.range.lowerBound))
    }
    return builder.text
  }

  private func mappedASCII(_ range: ClosedRange<UInt8>) -> Text {
    let changed = bytes.map { range.contains($0) ? $0 ^ 0x20 : $0 }
    return runs.isEmpty ? Text(changed, uniform) : Text(changed, runs: runs)
  }

  var uppercased: Text {
    if isASCII { return mappedASCII(UInt8(ascii: "a")...UInt8(ascii: "z")) }
    return mapped { $1.properties.uppercaseMapping }
  }

  var lowercased: Text {
    if isASCII { return mappedASCII(UInt8(ascii: "A")...UInt8(ascii: "Z")) }
    let all = scalars.map(\.scalar)
    return mapped { i, _ in Self.lower(all, i) }
  }

  /// A sigma at the end of a word has a form of its own.
  private static func lower(_ all: [Unicode.Scalar], _ i: Int) -> String {
    guard all[i] == "\u{3a3}" else { return all[i].properties.lowercaseMapping }
    let before = all[..<i].last { !$0.properties.isCaseIgnorable }?.properties.isCased ?? false
    let behind = all[(i + 1)...].first { !$0.properties.isCaseIgnorable }?.properties.isCased ?? false
    return before && !behind ? "\u{3c2}" : "\u{3c3}"
  }

  var capitalized: Text {
    let all = scalars.map(\.scalar)
    return mapped { i, scalar in i == 0 ? scalar.properties.titlecaseMapping : Self.lower(all, i) }
  }

  /// Python's `str.title`: a letter after an uncased character is a capital.
  var titled: Text {
    let all = scalars.map(\.scalar)
    return mapped { i, scalar in
      let isInside = i > 0 && all[i - 1].properties.isCased
      return isInside ? Self.lower(all, i) : scalar.properties.titlecaseMapping
    }
  }

  var swappedCase: Text {
    let all = scalars.map(\.scalar)
    return mapped { i, scalar in
      if scalar.properties.isUppercase { return Self.lower(all, i) }
      return scalar.properties.isLowercase ? scalar.properties.uppercaseMapping : String(scalar)
    }
  }

  /// jinja2's `title` filter: words begin after spaces, hyphens and opening brackets.
  var titledWords: Text {
    let breaks: Set<Unicode.Scalar> = ["-", "(", "{", "[", "<"]
    let all = scalars.map(\.scalar)
    func isBreak(_ scalar: Unicode.Scalar) -> Bool { scalar.isPythonSpace || breaks.contains(scalar) }
    var start = 0
    return mapped { i, scalar in
      if i == 0 || isBreak(all[i - 1]) != isBreak(scalar) { start = i }
      guard i > start else { return scalar.properties.uppercaseMapping }
      // Each word is changed by itself, after its first letter.
      guard scalar == "\u{3a3}" else { return scalar.properties.lowercaseMapping }
      let end = all[i...].firstIndex { isBreak($0) != isBreak(scalar) } ?? all.count
      return Self.lower(Array(all[start + 1..<end]), i - start - 1)
    }
  }

  func repeated(_ count: Int) -> Text {
    if runs.isEmpty { return Text(Array([[UInt8]](repeating: bytes, count: max(count, 0)).joined()), uniform) }
    var builder = TextBuilder()
    for _ in 0..<max(count, 0) { builder.append(self) }
    return builder.text
  }

  static func + (a: Text, b: Text) -> Text {
    if a.isEmpty { return b.plain }
    if b.isEmpty { return a.plain }
    var builder = TextBuilder()
    builder.append(a)
    builder.append(b)
    return builder.text
  }

  /// HTML's special characters as entities.
  var escaped: Text {
    guard !isMarkup else { return self }
    var text = mapped { _, scalar in
      switch scalar {
      case "&": "&amp;"
      case "<": "&lt;"
      case ">": "&gt;"
      case "'": "&#39;"
      case "\"": "&#34;"
      default: String(scalar)
      }
    }
    text.isMarkup = true
    return text
  }

  func joined(_ items: [Text]) -> Text {
    var builder = TextBuilder()
    for (i, item) in items.enumerated() {
      if i > 0 { builder.append(self) }
      builder.append(item)
    }
    return builder.text
  }
}

extension Unicode.Scalar {
  /// Whether `splitlines` ends a line at it.
  var isLineEnd: Bool {
    switch value {
    case 0x0a...0x0d, 0x1c...0x1e, 0x85, 0x2028, 0x2029: true
    default: false
    }
  }
}
