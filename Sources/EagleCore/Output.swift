import Foundation

/// Standard output and standard error of a program. Nothing else writes to them.
///
/// A reader that went away or a full disk is an error to whoever prints a result, and nothing to whoever prints progress:
/// the work goes on without its log. `FileHandle.write` would trap on both.
public enum Output {
  /// Writes text to standard output at once.
  ///
  /// - Throws: `OutputError` when not all of it can be written: a closed pipe (EPIPE), a full disk (ENOSPC)
  public static func write(_ text: String) throws { try write(Array(text.utf8), to: STDOUT_FILENO) }

  /// Writes a line to standard error; what cannot be written is lost.
  public static func note(_ line: String) { try? write(Array("\(line)\n".utf8), to: STDERR_FILENO) }

  static func write(_ bytes: [UInt8], to descriptor: Int32) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw OutputError(code: errno) }
      rest = rest.dropFirst(count)
    }
  }
}

/// A result that could not be written.
public struct OutputError: Error, CustomStringConvertible, LocalizedError {
  /// The system's error number.
  public let code: Int32

  public init(code: Int32) { self.code = code }

  public var description: String { "standard output: \(String(cString: strerror(code)))" }
  public var errorDescription: String? { description }
}
