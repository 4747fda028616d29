import EagleCore
import Foundation

/// A file of which any thread reads parts, without a mapping: what is read does not count as memory of the process.
package final class FileReader: Sendable {
  private let path: String
  private let descriptor: Int32

  /// - Parameters:
  ///   - path: the file to open
  ///   - isRandom: whether the system shall read no more than what is asked for
  /// - Throws: `LocatedError` for a file that cannot be opened
  package init(path: String, isRandom: Bool = false) throws {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "open the file") }
    #if os(Linux)
      if isRandom { posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM) }
    #endif
  }

  deinit { close(descriptor) }

  /// The bytes of the file.
  package func size() throws -> Int {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw LocatedError.system(path: path, "read its size") }
    return Int(status.st_size)
  }

  /// Reads `range` of the file to the start of `buffer`.
  ///
  /// - Throws: `LocatedError` where the file ends before
  @discardableResult
  package func read(_ range: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) throws -> UnsafeRawBufferPointer {
    var done = 0
    while done < range.count {
      let count = pread(descriptor, buffer.baseAddress! + done, range.count - done, off_t(range.lowerBound + done))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw LocatedError.system(path: path, "read the file") }
      guard count > 0 else {
        throw LocatedError(
          path: path, problem: "ends before byte \(range.upperBound)",
          advice: "it was cut after it was opened: copy it again")
      }
      done += count
    }
    return UnsafeRawBufferPointer(rebasing: buffer[..<range.count])
  }

  /// The bytes `range` of the file.
  package func bytes(_ range: Range<Int>) throws -> [UInt8] {
    var values = [UInt8](repeating: 0, count: range.count)
    try values.withUnsafeMutableBytes { _ = try read(range, into: $0) }
    return values
  }
}
