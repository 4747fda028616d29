import Foundation

/// Signals that ask a program to end in order: the first one is a request, and a second one ends the program at once.
///
/// They are blocked in all threads, and one thread waits for them, so that they interrupt no system call of a library.
///
/// ```swift
/// let signals = StopSignals([SIGINT, SIGTERM])
/// let server = try Server(config)
/// signals.handle { name in server.stop(because: name) }
/// ```
package final class StopSignals: @unchecked Sendable {
  /// The exit status of a program that a signal has ended.
  package static let status: Int32 = 130

  private enum State {
    /// No handler takes requests yet: a signal ends the program as it would without this object.
    case unhandled
    case handled(@Sendable (_ name: String) -> Void)
    /// The first signal has come.
    case requested
    case ended
  }

  private let lock = NSLock()
  private var state = State.unhandled

  /// Begins to wait for signals. It must be made while the process has one thread: threads that start later inherit
  /// that signals are blocked.
  package init(_ numbers: [Int32]) {
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in numbers { sigaddset(&signals, number) }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    let awaited = signals
    let thread = Thread { [self] in
      var signals = awaited
      while true {
        var number: Int32 = 0
        sigwait(&signals, &number)
        take(number)
      }
    }
    thread.start()
  }

  /// Hands the first signal to `body`, on a thread of this object, instead of to an earlier handler.
  package func handle(_ body: @escaping @Sendable (_ name: String) -> Void) {
    lock.withLock {
      switch state {
      case .unhandled, .handled: state = .handled(body)
      case .requested, .ended: break
      }
    }
  }

  /// Ignores signals from now on.
  package func end() { lock.withLock { state = .ended } }

  private func take(_ number: Int32) {
    let before = lock.withLock {
      let before = state
      if case .handled = before { state = .requested }
      return before
    }
    switch before {
    case .unhandled: Self.endByDefault(number)
    case .handled(let body): body(Self.name(number))
    case .requested: _exit(Self.status)
    case .ended: break
    }
  }

  /// Does what the system does without a handler.
  private static func endByDefault(_ number: Int32) {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, number)
    signal(number, SIG_DFL)
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    raise(number)
  }

  private static func name(_ number: Int32) -> String {
    [SIGINT: "SIGINT", SIGTERM: "SIGTERM", SIGUSR1: "SIGUSR1"][number] ?? "signal \(number)"
  }
}
