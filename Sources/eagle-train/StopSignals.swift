import EagleCluster
import EagleCore
import Foundation

/// SIGINT, SIGTERM and SIGUSR1 (Slurm's early warning): the first asks the run to stop at the next good place, a second one
/// ends the process at once. Files are written whole or not at all, so that leaves nothing half-written either.
final class StopSignals: @unchecked Sendable {
  static let status: Int32 = 130

  private let lock = NSLock()
  private var isTelling = false

  /// Whether this process says on standard error that it has heard.
  var isToTell: Bool {
    get { lock.withLock { isTelling } }
    set { lock.withLock { isTelling = newValue } }
  }

  /// To be made while the process has one thread: those that start later inherit that signals wait for this one's thread.
  init(_ stop: StopRequest) {
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in [SIGINT, SIGTERM, SIGUSR1] { sigaddset(&signals, signal) }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    let awaited = signals
    let thread = Thread { [self] in
      var (signals, signal) = (awaited, Int32(0))
      sigwait(&signals, &signal)
      stop.make(Self.name(signal))
      if isToTell {
        Output.note("\(Self.name(signal)): stopping once this piece of work is done; a second signal ends at once")
      }
      sigwait(&signals, &signal)
      _exit(Self.status)
    }
    thread.start()
  }

  private static func name(_ signal: Int32) -> String {
    [SIGINT: "SIGINT", SIGTERM: "SIGTERM", SIGUSR1: "SIGUSR1"][signal] ?? "signal \(signal)"
  }
}
