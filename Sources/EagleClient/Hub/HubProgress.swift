import EagleCore
import Foundation

/// Prints the progress of a download every few seconds.
final class HubProgress: @unchecked Sendable {
  private let name: String
  private let total: Int
  private let say: @Sendable (String) -> Void
  private let lock = NSLock()
  // Guarded by the lock.
  private var done = 0
  private var said = ContinuousClock.now
  private let start = ContinuousClock.now
  private static let pause = Duration.seconds(5)

  init(name: String, total: Int, _ say: @escaping @Sendable (String) -> Void) {
    (self.name, self.total, self.say) = (name, total, say)
  }

  /// Records the bytes of the current file so far.
  func note(_ bytes: Int) {
    lock.withLock {
      guard said.duration(to: .now) > Self.pause else { return }
      said = .now
      say(line(done + bytes))
    }
  }

  /// Records a complete file.
  func add(_ bytes: Int) { lock.withLock { done += bytes } }

  func end() { lock.withLock { say("\(name): all \(Format.bytes(Double(total))) are here") } }

  private func line(_ bytes: Int) -> String {
    let part = total > 0 ? 100 * Double(bytes) / Double(total) : 100
    return String(
      format: "%@: %@ of %@ (%.0f %%) are here", name, Format.bytes(Double(bytes)), Format.bytes(Double(total)), part)
  }
}
