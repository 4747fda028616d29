import Foundation

/// A line of a file, without its line end (LF or CR LF).
struct Line {
  /// The number of the line, counted from 1.
  let number: Int
  /// Nil when the line is longer than can be read.
  let bytes: Data?

  /// Whether there is nothing here but blanks.
  var isBlank: Bool { bytes?.allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D } ?? false }

  static let tooLong = TextError("the line is longer than \(LineReader.longestLine >> 20) MiB")
}

/// Reads a text file, compressed or not, line by line, so that a file of any length needs little memory.
struct LineReader {
  /// The most bytes of a line that is read. Longer lines are skipped.
  static let longestLine = 16 << 20

  let path: String
  private let source: ByteSource
  private var number = 0
  private var buffer = Data()
  private var position = 0  // start of the next line in the buffer
  private var searched = 0  // end of the bytes of the buffer that were searched for a line end
  private var isAtEnd = false
  /// Whether the next bytes belong to a line that is too long, whose start is gone.
  private var isPassing = false
  /// Bytes that came from the source, decompressed.
  private var bytesTaken = 0

  /// Opens the file; throws with its path when that fails.
  init(path: String) throws {
    self.path = path
    source = try ByteSource(path: path)
  }

  var isCompressed: Bool { source.isCompressed }

  /// Bytes of the file that the lines so far came from; an estimate where the file is compressed.
  var bytesUsed: Double {
    let used = bytesTaken == 0 ? 0 : Double(bytesTaken - (buffer.count - position)) / Double(bytesTaken)
    return Double(source.bytesUsed) * used
  }

  /// Continues with the first line that begins after `offset` of a file that is not compressed. Lines are not counted
  /// any more.
  mutating func jump(behind offset: Int) throws {
    try source.jump(to: offset)
    (buffer, position, searched, isAtEnd, isPassing) = (Data(), 0, 0, false, false)
    _ = try next()
  }

  /// The next line, nil after the last one.
  mutating func next() throws -> Line? {
    while true {
      if let end = nextLineEnd() {
        defer { (position, searched) = (end + 1, end + 1) }
        return line(upTo: end)
      }
      if isAtEnd { return lastLine() }
      try readMore()
    }
  }

  private mutating func lastLine() -> Line? {
    guard position < buffer.count || isPassing else { return nil }
    defer { (position, searched) = (buffer.count, buffer.count) }
    return line(upTo: buffer.count)
  }

  private mutating func nextLineEnd() -> Int? {
    let found = buffer.withUnsafeBytes { bytes -> Int? in
      guard searched < bytes.count, let start = bytes.baseAddress,
        let end = memchr(start + searched, 0x0A, bytes.count - searched)
      else { return nil }
      return start.distance(to: UnsafeRawPointer(end))
    }
    if found == nil { searched = buffer.count }
    return found
  }

  private mutating func line(upTo end: Int) -> Line {
    number += 1
    defer { isPassing = false }
    if isPassing || end - position > Self.longestLine { return Line(number: number, bytes: nil) }
    let hasReturn = end > position && buffer[end - 1] == 0x0D
    let line = buffer.subdata(in: position..<(hasReturn ? end - 1 : end))
    let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
    return Line(
      number: number, bytes: number == 1 && line.starts(with: byteOrderMark) ? line.subdata(in: 3..<line.count) : line)
  }

  private mutating func readMore() throws {
    let chunk: Data
    do {
      chunk = try source.next()
    } catch let error as TextError {
      throw TextError("\(error.description) (after line \(number))")
    }
    isAtEnd = chunk.isEmpty
    bytesTaken += chunk.count
    if buffer.count - position > Self.longestLine {
      isPassing = true
      buffer = chunk
    } else {
      buffer = buffer.subdata(in: position..<buffer.count) + chunk
    }
    (position, searched) = (0, isPassing ? 0 : max(0, searched - position))
  }
}
