import EagleCore
import Foundation

/// The records of a file: its lines that are not blank, or the elements of the one JSON list that it holds.
struct RecordReader {
  private enum Source {
    case lines(LineReader)
    case elements(ElementReader)
  }

  private var source: Source
  let path: String

  /// Opens the file; throws with its path when that fails.
  init(path: String) throws {
    self.path = path
    source = try ElementReader.isList(path) ? .elements(ElementReader(path: path)) : .lines(LineReader(path: path))
  }

  var isCompressed: Bool {
    switch source {
    case .lines(let lines): lines.isCompressed
    case .elements(let elements): elements.isCompressed
    }
  }

  /// Bytes of the file that the records so far came from; an estimate where the file is compressed.
  var bytesUsed: Double {
    switch source {
    case .lines(let lines): lines.bytesUsed
    case .elements(let elements): elements.bytesUsed
    }
  }

  /// Continues with the first record that begins after `offset` of a file that is not compressed.
  mutating func jump(behind offset: Int) throws {
    switch source {
    case .lines(var lines):
      try lines.jump(behind: offset)
      source = .lines(lines)
    case .elements: while bytesUsed < Double(offset), try next() != nil {}
    }
  }

  /// The next record, nil after the last one.
  ///
  /// - Throws: `TextError` with the path for a file that cannot be read, and for a list that does not end or has
  ///   something after it
  mutating func next() throws -> Line? {
    switch source {
    case .lines(var lines):
      defer { source = .lines(lines) }
      while let line = try lines.next() {
        if !line.isBlank { return line }
      }
      return nil
    case .elements(var elements):
      defer { source = .elements(elements) }
      return try elements.next()
    }
  }
}

/// The elements of a file that is one JSON list, `[{…}, {…}]`, one after the other, so that a file of any length needs
/// little memory. The content of an element is not parsed.
struct ElementReader {
  private let path: String
  private let source: ByteSource
  private var chunk = Data()
  private var position = 0
  private var number = 0
  private var bytesTaken = 0
  private var state = State.beforeList

  private enum State { case beforeList, inList, ended }

  /// Whether the first character of the file that is no white space begins a list. A pipe, which can be read once
  /// only, holds lines.
  static func isList(_ path: String) throws -> Bool {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return false }
    let source = try ByteSource(path: path)
    var text = Data()
    while text.count < 3 {
      let more = try source.next()
      if more.isEmpty { break }
      text += more
    }
    if text.starts(with: [0xEF, 0xBB, 0xBF]) { text = Data(text.dropFirst(3)) }
    while true {
      if let first = text.first(where: { !Self.blanks.contains($0) }) { return first == UInt8(ascii: "[") }
      text = try source.next()
      if text.isEmpty { return false }
    }
  }

  init(path: String) throws {
    self.path = path
    source = try ByteSource(path: path)
  }

  var isCompressed: Bool { source.isCompressed }

  var bytesUsed: Double {
    bytesTaken == 0 ? 0 : Double(source.bytesUsed) * Double(bytesTaken - (chunk.count - position)) / Double(bytesTaken)
  }

  /// The next element, nil after the last one.
  mutating func next() throws -> Line? {
    if state == .beforeList { try skipToList() }
    guard state == .inList else {
      try requireEnd()
      return nil
    }
    var element = Element()
    while let byte = try nextByte() {
      switch element.take(byte) {
      case .more: continue
      case .separator:
        if element.isBlank { continue }
      case .end: state = .ended
      }
      if element.isBlank {
        try requireEnd()
        return nil
      }
      number += 1
      return Line(number: number, bytes: element.isTooLong ? nil : element.bytes)
    }
    throw TextError("\(path): the list of conversations does not end; the file seems to be cut off")
  }

  /// Throws where anything but white space follows the list, as in a file that joins two lists.
  private mutating func requireEnd() throws {
    while let byte = try nextByte() {
      guard Self.blanks.contains(byte) else {
        throw TextError(
          "\(path): something stands behind the list of \(Format.count(number, "element")); a file holds one list: "
            + "join the lists, or write one object a line")
      }
    }
  }

  private mutating func skipToList() throws {
    while let byte = try nextByte(), byte != UInt8(ascii: "[") {}
    state = .inList
  }

  private mutating func nextByte() throws -> UInt8? {
    if position == chunk.count {
      chunk = try source.next()
      (position, bytesTaken) = (0, bytesTaken + chunk.count)
      if chunk.isEmpty { return nil }
    }
    defer { position += 1 }
    return chunk[chunk.startIndex + position]
  }

  private static let blanks: Set<UInt8> = [0x20, 0x09, 0x0A, 0x0D]

  /// The bytes of an element as they come.
  private struct Element {
    enum Step { case more, separator, end }

    private(set) var bytes = Data()
    private(set) var isTooLong = false
    private var depth = 0
    private var isInString = false
    private var isEscaped = false

    var isBlank: Bool { bytes.isEmpty && !isTooLong }

    mutating func take(_ byte: UInt8) -> Step {
      if isInString {
        isInString = isEscaped || byte != UInt8(ascii: "\"")
        isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
      } else {
        switch byte {
        case UInt8(ascii: ","), UInt8(ascii: "]"):
          if depth == 0 { return byte == UInt8(ascii: ",") ? .separator : .end }
          if byte == UInt8(ascii: "]") { depth -= 1 }
        case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
        case UInt8(ascii: "}"): depth -= 1
        case UInt8(ascii: "\""): isInString = true
        case _ where blanks.contains(byte) && bytes.isEmpty: return .more
        default: break
        }
      }
      append(byte)
      return .more
    }

    private mutating func append(_ byte: UInt8) {
      if bytes.count < LineReader.longestLine {
        bytes.append(byte)
      } else {
        isTooLong = true
      }
    }
  }
}
