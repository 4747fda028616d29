import Foundation

/// The start and the end of a command.
package enum Program {
  /// Runs a command and ends the process: with status 0, or with what `report` says about the error.
  ///
  /// When the reader of standard output has gone, the process ends silently by SIGPIPE, as other programs do: a shell
  /// shows status 141. Any other failure to write a result is an error with status 1.
  ///
  /// - Parameters:
  ///   - body: all of the command
  ///   - report: an error's text, which may be empty, and its status; with status 0 the text is a result, such as help
  package static func run(_ body: () throws -> Void, report: (any Error) -> (text: String, status: Int32)) -> Never {
    openStandardDescriptors()
    signal(SIGPIPE, SIG_IGN)
    let status = status(body, report)
    Output.flush()
    exit(status)
  }

  private static func status(_ body: () throws -> Void, _ report: (any Error) -> (text: String, status: Int32)) -> Int32
  {
    do {
      try body()
      return 0
    } catch let error as OutputError where error.isReaderGone {
      endBySignal()
    } catch {
      let (text, status) = report(error)
      if status == 0 {
        return Self.status({ if !text.isEmpty { try Output.write("\(text)\n") } }, { ("Error: \($0)", 1) })
      }
      if !text.isEmpty { Output.note(text) }
      return status
    }
  }

  /// Opens the standard descriptors that are closed: a file that is opened while descriptor 2 is free would get its
  /// number, and the log as content.
  private static func openStandardDescriptors() {
    for number in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(number, F_GETFD) < 0 {
      // Read-only, and the lowest free number: writing to it fails as it does without it.
      _ = open("/dev/null", O_RDONLY)
    }
  }

  private static func endBySignal() -> Never {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGPIPE)
    signal(SIGPIPE, SIG_DFL)
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    raise(SIGPIPE)
    _exit(128 + SIGPIPE)
  }
}
