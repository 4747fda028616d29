import Foundation

/// Reads a text file line by line in pieces of fixed size, so that a file of any length needs little memory.
struct LineReader {
  private static let chunkBytes = 1 << 20

  let path: String
  /// The number of the line that `next` returned last, counted from 1.
  private(set) var lineNumber = 0
  private let handle: FileHandle
  private var buffer = Data()
  private var position = 0  // of the next line in buffer
  private var searched = 0  // up to here buffer holds no further line end
  private var isAtEnd = false

  /// Opens the file; throws with its path when that fails.
  init(path: String) throws {
    self.path = path
    do {
      handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    } catch {
      throw TextError("\(path): cannot be opened for reading; check the path and its permissions")
    }
  }

  /// The next line without its line end (LF or CR LF), nil after the last one.
  mutating func next() throws -> Data? {
    while true {
      if let end = nextLineEnd() {
        defer { (position, searched) = (end + 1, end + 1) }
        return line(upTo: end)
      }
      if isAtEnd { return lastLine() }
      try readChunk()
    }
  }

  private mutating func lastLine() -> Data? {
    guard position < buffer.count else { return nil }
    defer { (position, searched) = (buffer.count, buffer.count) }
    return line(upTo: buffer.count)
  }

  private mutating func nextLineEnd() -> Int? {
    let found = buffer.withUnsafeBytes { bytes in bytes[searched...].firstIndex(of: 0x0A) }
    if found == nil { searched = buffer.count }
    return found
  }

  private mutating func line(upTo end: Int) -> Data {
    lineNumber += 1
    let hasReturn = end > position && buffer[end - 1] == 0x0D
    let line = buffer.subdata(in: position..<(hasReturn ? end - 1 : end))
    let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
    return lineNumber == 1 && line.starts(with: byteOrderMark) ? line.subdata(in: 3..<line.count) : line
  }

  private mutating func readChunk() throws {
    let chunk: Data
    do {
      chunk = try handle.read(upToCount: LineReader.chunkBytes) ?? Data()
    } catch {
      throw TextError("\(path): reading failed after line \(lineNumber); it must be a readable regular file")
    }
    isAtEnd = chunk.isEmpty
    buffer = buffer.subdata(in: position..<buffer.count) + chunk
    searched -= position
    position = 0
  }
}

extension Data {
  /// Whether there is nothing here but blanks.
  var isBlank: Bool { allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D } }
}
