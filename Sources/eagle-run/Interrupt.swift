import EagleCore
import Foundation

/// Ctrl-C as a request instead of the end of the program. A second one before the first was handled ends the program.
/// Unlike `StopSignals`, it may be repeated, and it interrupts a read.
enum Interrupt {
  nonisolated(unsafe) private static var flag: sig_atomic_t = 0

  /// Installs the handler of SIGINT, which also ends a blocking read.
  static func install() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in
      if Interrupt.flag != 0 { _exit(StopSignals.status) }
      Interrupt.flag = 1
    }
    action.sa_flags = 0  // no SA_RESTART: read returns
    sigaction(SIGINT, &action, nil)
    // The parent process may have blocked the signal.
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGINT)
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }

  /// Whether an interrupt is pending, without consuming it.
  static var isPending: Bool { flag != 0 }

  /// Whether an interrupt has come since the last call; consumes it.
  static func take() -> Bool {
    defer { flag = 0 }
    return flag != 0
  }
}

/// Lines of standard input.
struct InputLines {
  enum Event: Equatable {
    case line(String)
    case interrupted
    /// A line that is not valid UTF-8.
    case garbled
    case end
  }

  private var buffer: [UInt8] = []
  private var isAtEnd = false

  mutating func next() -> Event {
    while true {
      if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
        defer { buffer.removeFirst(end + 1) }
        return event(buffer[..<end])
      }
      if isAtEnd {
        defer { buffer = [] }
        return buffer.isEmpty ? .end : event(buffer[...])
      }
      if Interrupt.take() { return .interrupted }
      var chunk = [UInt8](repeating: 0, count: 4096)
      let count = read(STDIN_FILENO, &chunk, chunk.count)
      if count < 0 && errno == EINTR {
        if Interrupt.take() { return .interrupted }
        continue
      }
      if count <= 0 { isAtEnd = true } else { buffer += chunk[..<count] }
    }
  }

  private func event(_ bytes: ArraySlice<UInt8>) -> Event {
    let text = bytes.last == UInt8(ascii: "\r") ? bytes.dropLast() : bytes
    return String(validating: text, as: UTF8.self).map(Event.line) ?? .garbled
  }
}
