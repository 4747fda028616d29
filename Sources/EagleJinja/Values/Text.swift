/// Where the characters of a text come from; bits that combine.
struct Origin: OptionSet, Hashable, Sendable {
  let rawValue: UInt8

  /// The template's own literals: no bit.
  static let template: Origin = []
  /// A string of the variables.
  static let data = Origin(rawValue: 1)
  /// Rendered inside a `{% generation %}` block.
  static let generation = Origin(rawValue: 2)
}

/// A string of the language: UTF-8 bytes, and for each byte its origin, as runs.
///
/// Most texts are uniform and have no run. A text is indexed by code points, as in Python.
struct Text: Sendable {
  /// Bytes up to `end`, from the run before, of one origin.
  struct Run: Sendable, Equatable {
    var end: Int
    var origin: Origin
  }

  let bytes: [UInt8]
  /// Ascending, without empty runs or equal neighbours, the last ends with the text; empty where it is uniform.
  let runs: [Run]
  /// The origin of all bytes where there are no runs.
  let uniform: Origin
  /// Whether it is HTML that `escape` and `+` leave as it is.
  var isMarkup = false

  static let empty = Text([])

  init(_ bytes: [UInt8], _ origin: Origin = .template) {
    (self.bytes, uniform, runs) = (bytes, origin, [])
  }

  init(_ text: String, _ origin: Origin = .template) { self.init(Array(text.utf8), origin) }

  init(_ bytes: [UInt8], runs: [Run]) {
    self.bytes = bytes
    self.runs = runs.count > 1 ? runs : []
    uniform = runs.first?.origin ?? .template
  }

  var isEmpty: Bool { bytes.isEmpty }
  var string: String { String(decoding: bytes, as: UTF8.self) }
  var isASCII: Bool { bytes.allSatisfy { $0 < 0x80 } }
  /// Code points.
  var count: Int { bytes.reduce(0) { $0 + ($1 & 0xc0 != 0x80 ? 1 : 0) } }
  /// Whether a character comes from the variables.
  var hasData: Bool { runs.isEmpty ? uniform.contains(.data) && !isEmpty : runs.contains { $0.origin.contains(.data) } }
  /// The origin of what is made of the text as a whole.
  var overall: Origin { runs.isEmpty ? uniform : runs.reduce(.template) { $0.union($1.origin) } }

  /// The origin of one byte.
  func origin(at byte: Int) -> Origin {
    guard !runs.isEmpty else { return uniform }
    return runs[run(of: byte)].origin
  }

  /// The run that holds a byte, by binary search.
  private func run(of byte: Int) -> Int {
    var (low, high) = (0, runs.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].end > byte { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// The bytes of a range, with their origins.
  func slice(_ range: Range<Int>) -> Text {
    if range.lowerBound == 0, range.upperBound == bytes.count { return isMarkup ? plain : self }
    guard !runs.isEmpty, !range.isEmpty else { return Text(Array(bytes[range]), uniform) }
    var cut: [Run] = []
    for run in runs[run(of: range.lowerBound)...] {
      cut.append(Run(end: min(run.end, range.upperBound) - range.lowerBound, origin: run.origin))
      if run.end >= range.upperBound { break }
    }
    return Text(Array(bytes[range]), runs: cut)
  }

  /// The same characters without the mark of HTML.
  var plain: Text {
    var text = self
    text.isMarkup = false
    return text
  }

  /// The same, marked as HTML where a value is.
  func marked(like value: Value) -> Text {
    guard case .string(let other) = value, other.isMarkup else { return self }
    var text = self
    text.isMarkup = true
    return text
  }

  /// The same with a bit added to each origin.
  func marked(_ origin: Origin) -> Text {
    guard !runs.isEmpty else { return Text(bytes, isEmpty ? uniform : uniform.union(origin)) }
    var builder = TextBuilder()
    var start = 0
    for run in runs {
      builder.append(bytes[start..<run.end], run.origin.union(origin))
      start = run.end
    }
    return builder.text
  }

  /// The first byte of each code point, and the end.
  var boundaries: [Int] {
    var starts: [Int] = []
    starts.reserveCapacity(bytes.count + 1)
    for (i, byte) in bytes.enumerated() where byte & 0xc0 != 0x80 { starts.append(i) }
    starts.append(bytes.count)
    return starts
  }

  /// Each code point as a text.
  var characters: [Text] {
    let starts = boundaries
    return (0..<starts.count - 1).map { slice(starts[$0]..<starts[$0 + 1]) }
  }

  /// The code points with their byte ranges.
  var scalars: [(scalar: Unicode.Scalar, range: Range<Int>)] {
    var (list, at) = ([(scalar: Unicode.Scalar, range: Range<Int>)](), 0)
    list.reserveCapacity(bytes.count)
    for scalar in string.unicodeScalars {
      let length = UTF8.width(scalar)
      list.append((scalar, at..<at + length))
      at += length
    }
    return list
  }
}

extension Text: Equatable {
  static func == (a: Text, b: Text) -> Bool { a.bytes == b.bytes }
}

/// Collects a text piece by piece, in time linear in its bytes.
struct TextBuilder {
  private(set) var bytes: [UInt8] = []
  private(set) var runs: [Text.Run] = []

  var count: Int { bytes.count }
  var text: Text { Text(bytes, runs: runs) }

  mutating func append(_ text: Text) {
    guard !text.runs.isEmpty else { return append(text.bytes, text.uniform) }
    let base = bytes.count
    bytes += text.bytes
    for run in text.runs { extend(to: base + run.end, run.origin) }
  }

  mutating func append(_ new: some Collection<UInt8>, _ origin: Origin) {
    guard !new.isEmpty else { return }
    bytes += new
    extend(to: bytes.count, origin)
  }

  mutating func append(_ text: String, _ origin: Origin) { append(text.utf8, origin) }

  private mutating func extend(to end: Int, _ origin: Origin) {
    if let last = runs.last, last.origin == origin {
      runs[runs.count - 1].end = end
    } else {
      runs.append(Text.Run(end: end, origin: origin))
    }
  }
}
