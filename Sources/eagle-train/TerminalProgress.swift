import EagleTensor
import EagleTraining
import Foundation

/// Progress on standard error: one line that changes on a terminal, a plain line now and then elsewhere.
final class TerminalProgress: ProgressSink {
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private let clock = ContinuousClock()
  private var stage = ""
  private var start = ContinuousClock().now
  /// Work that was done when the stage began here: after a resume or an evaluation.
  private var firstDone: Int?
  private var lastShown: ContinuousClock.Instant?
  private var isLineOpen = false

  /// A terminal's line may change ten times a second; a log gets a line every ten seconds.
  private var interval: Duration { isTerminal ? .milliseconds(100) : .seconds(10) }

  func advance(_ stage: String, done: Int, total: Int, unit: String, note: String) {
    begin(stage)
    firstDone = firstDone ?? done
    let now = clock.now
    if let lastShown, lastShown.duration(to: now) < interval, done < total || total == 0 { return }
    lastShown = now
    var line = "\(stage): \(done)" + (total > 0 ? "/\(total)" : "") + " \(unit)"
    if let left = timeLeft(done, total, now) { line += ", \(left) left" }
    show(note.isEmpty ? line : "\(line), \(note)")
  }

  func finish(_ stage: String, _ summary: String) {
    begin(stage)
    let seconds = start.duration(to: clock.now).inSeconds
    closeLine()
    write("\(stage): \(summary)" + (seconds >= 1 ? " (\(Self.clockText(seconds)))" : "") + "\n")
    self.stage = ""
  }

  func say(_ line: String) {
    closeLine()
    write(line + "\n")
  }

  /// A line that the next one may replace: shown on a terminal always, elsewhere only now and then.
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
    firstDone = nil
  }

  private func timeLeft(_ done: Int, _ total: Int, _ now: ContinuousClock.Instant) -> String? {
    let fresh = done - (firstDone ?? 0)
    guard fresh > 0, total > done else { return nil }
    return Self.clockText(start.duration(to: now).inSeconds / Double(fresh) * Double(total - done))
  }

  private func show(_ line: String) {
    guard isTerminal else { return write(line + "\n") }
    write("\r\u{1B}[K" + line)
    isLineOpen = true
  }

  private func closeLine() {
    if isLineOpen { write("\r\u{1B}[K") }
    isLineOpen = false
  }

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }

  private static func clockText(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded())
    let minutes = whole / 60
    return minutes < 60
      ? String(format: "%d:%02d", minutes, whole % 60)
      : String(format: "%d:%02d:%02d", minutes / 60, minutes % 60, whole % 60)
  }
}
