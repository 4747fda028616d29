import CHDF5
import EagleCore
import Foundation

/// The only access to the HDF5 library: a lock, because the library is not safe to enter from two threads, a check that
/// turns a failed call into an error with the library's own words, and the closing of what a call opened on its way.
final class HDF5 {
  private static let lock = NSRecursiveLock()
  /// Without the library's clean-up at exit, which crashes on files that it could not write. Must come before any
  /// other call; everything here is closed by its owner.
  private static let noCleanUpAtExit = H5dont_atexit()

  private let path: String
  private var opened: [(id: hid_t, close: (hid_t) -> herr_t)] = []

  private init(path: String) {
    self.path = path
  }

  /// Runs `body` alone in the library, on behalf of the file at `path`, and then closes what it kept, last first.
  static func with<Result>(_ path: String, _ body: (HDF5) throws -> Result) rethrows -> Result {
    lock.lock()
    defer { lock.unlock() }
    _ = noCleanUpAtExit
    // The library prints every error by itself unless it is disabled; the setting is one per thread.
    H5Eset_auto2(eagle_h5_default_errors(), nil, nil)
    let session = HDF5(path: path)
    defer {
      for item in session.opened.reversed() { _ = item.close(item.id) }
    }
    return try body(session)
  }

  /// Passes on an id or status, or throws what the library says when it is negative.
  @discardableResult
  func check<Status: SignedInteger>(_ status: Status, _ action: @autoclosure () -> String) throws -> Status {
    guard status < 0 else { return status }
    let messages = Self.errorMessages()
    H5Eclear2(eagle_h5_default_errors())
    throw LocatedError(
      path: path, problem: "cannot \(action()): \(Self.summary(messages))",
      advice: Self.advice(messages.joined(separator: "; ")))
  }

  /// Checks the id of an object that is needed until the end of `body`.
  func keep(_ id: hid_t, _ action: @autoclosure () -> String, _ close: @escaping (hid_t) -> herr_t) throws -> hid_t {
    try check(id, action())
    opened.append((id, close))
    return id
  }

  /// The messages of the error stack, the most specific one first.
  private static func errorMessages() -> [String] {
    let box = Messages()
    H5Ewalk2(
      eagle_h5_default_errors(), H5E_WALK_UPWARD,
      { _, entry, box in
        guard let box, let text = entry?.pointee.desc else { return 0 }
        Unmanaged<Messages>.fromOpaque(box).takeUnretainedValue().lines.append(String(cString: text))
        return 0
      }, Unmanaged.passUnretained(box).toOpaque())
    return withExtendedLifetime(box) { $0.lines }
  }

  private static func summary(_ messages: [String]) -> String {
    guard let cause = messages.first else { return "HDF5 gives no reason" }
    if let reason = systemReason(cause) { return reason }
    guard let context = messages.dropFirst().first(where: { $0 != cause }) else { return cause }
    return "\(cause) (\(context))"
  }

  /// The system's own words in a message such as `file write failed: ... error message = 'No space left on device',
  /// ...`.
  private static func systemReason(_ message: String) -> String? {
    guard let start = message.range(of: "error message = '")?.upperBound else { return nil }
    return message[start...].firstIndex(of: "'").map { String(message[start..<$0]) }
  }

  private static func advice(_ messages: String) -> String {
    if messages.contains("Fletcher32") {
      return "the checksum is wrong, so the file is damaged: remove it and make it again"
    }
    if messages.contains("errno = \(ENOSPC)") {
      return "free some space there, or choose another place, and start again"
    }
    return "check that the file is a complete HDF5 file and can be read and written"
  }

  private final class Messages {
    var lines: [String] = []
  }
}
