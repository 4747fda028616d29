import Foundation

/// Standard output and standard error of a program. Nothing else writes to them.
///
/// Standard output takes results: a closed pipe or a full disk is an error to the caller, and a slow reader is waited
/// for. Standard error takes a log: the work continues without it, whether it is closed, full or not read.
/// `FileHandle.write` would trap on the first two and block for ever on the third.
package enum Output {
  private static let log = LogWriter(descriptor: STDERR_FILENO)

  /// Writes text to standard output at once.
  ///
  /// - Throws: `OutputError` when not all of it can be written: a closed pipe (EPIPE), a full disk (ENOSPC)
  package static func write(_ text: String) throws {
    if let code = Descriptor(STDOUT_FILENO).write(Array(text.utf8)[...]).code { throw OutputError(code: code) }
  }

  /// Writes a line to standard error; one that cannot be written at once is written later, or lost and counted.
  package static func note(_ line: String) { show("\(line)\n") }

  /// Waits a moment for the lines that a slow reader of standard error has not taken yet.
  static func flush() { log.flush() }

  /// Writes text to standard error as it is, as for a line that the next one replaces.
  package static func show(_ text: String) { log.write(Array(text.utf8)) }
}

/// A result that could not be written.
package struct OutputError: Error, Equatable, CustomStringConvertible, LocalizedError {
  /// The system's error number.
  package let code: Int32

  package init(code: Int32) { self.code = code }

  /// Whether the reader has gone, as after `| head -1`.
  package var isReaderGone: Bool { code == EPIPE }

  package var description: String { "standard output: \(String(cString: strerror(code)))" }
  package var errorDescription: String? { description }
}

/// An open file, pipe or terminal.
struct Descriptor: Sendable {
  private let number: Int32

  init(_ number: Int32) { self.number = number }

  /// Writes all bytes, however long that takes.
  ///
  /// - Returns: how many were written, and the system's error number where these are not all
  func write(_ bytes: ArraySlice<UInt8>) -> (count: Int, code: Int32?) {
    var remaining = bytes
    while !remaining.isEmpty {
      let count = remaining.withUnsafeBytes { Foundation.write(number, $0.baseAddress, $0.count) }
      if count >= 0 {
        remaining = remaining.dropFirst(count)
        continue
      }
      let code = errno
      if code == EAGAIN { waitUntilWritable() } else if code != EINTR { return (bytes.count - remaining.count, code) }
    }
    return (bytes.count, nil)
  }

  /// Waits where another program that shares the pipe or terminal has made it non-blocking.
  private func waitUntilWritable() {
    var entry = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
    poll(&entry, 1, -1)
  }
}
