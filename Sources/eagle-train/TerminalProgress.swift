import EagleCore
import Foundation

/// Progress on standard error: one changing line on a terminal, and plain lines at intervals elsewhere.
///
/// There are no colours. Control codes are written only to terminals with `TERM` other than `dumb`.
final class TerminalProgress: ProgressSink {
  private let isTerminal = isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
  private let clock = ContinuousClock()
  private var stage = ""
  private var start = ContinuousClock().now
  private var left = TimeLeft()
  private var lastShown: ContinuousClock.Instant?
  private var isLineOpen = false

  /// A terminal's line may change ten times a second; a log gets a line every ten seconds.
  private var interval: Duration { isTerminal ? .milliseconds(100) : .seconds(10) }

  func advance(_ stage: String, done: Int, total: Int, unit: String, note: String) {
    begin(stage)
    let now = clock.now
    let seconds = left.estimate(done: done, total: total, at: start.duration(to: now).inSeconds)
    if let lastShown, lastShown.duration(to: now) < interval, done < total || total == 0 { return }
    lastShown = now
    var line = "\(stage): \(done)" + (total > 0 ? "/\(total)" : "") + " \(unit)"
    if let seconds { line += ", \(Format.clock(seconds)) left" }
    show(note.isEmpty ? line : "\(line), \(note)")
  }

  func finish(_ stage: String, _ summary: String) {
    begin(stage)
    let seconds = start.duration(to: clock.now).inSeconds
    closeLine()
    Output.show("\(stage): \(summary)" + (seconds >= 1 ? " (\(Format.clock(seconds)))" : "") + "\n")
    self.stage = ""
  }

  func say(_ line: String) {
    closeLine()
    Output.show(line + "\n")
  }

  /// A line that the next one may replace: always shown on a terminal, elsewhere only at intervals.
  func show(passing line: String) {
    let now = clock.now
    if let lastShown, lastShown.duration(to: now) < interval { return }
    lastShown = now
    show(line)
  }

  private func begin(_ name: String) {
    guard name != stage else { return }
    stage = name
    start = clock.now
    lastShown = nil
    left = TimeLeft()
  }

  private func show(_ line: String) {
    guard isTerminal else { return Output.show(line + "\n") }
    Output.show("\r\u{1B}[K" + Self.cut(line, width: Self.width))
    isLineOpen = true
  }

  private func closeLine() {
    if isLineOpen { Output.show("\r\u{1B}[K") }
    isLineOpen = false
  }

  /// The current number of columns of the terminal. It is queried for each line, because the size of the window may
  /// change.
  private static var width: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Cuts a line to the width. The last column stays free, because some terminals break the line there.
  private static func cut(_ line: String, width: Int) -> String {
    line.count < width ? line : line.prefix(max(0, width - 2)) + "…"
  }
}
