/// The receiver of a stage's progress, for people to see. Libraries never print.
public protocol ProgressSink: AnyObject {
  /// Shows the work done so far, in the stage's own unit, with a short note such as the loss.
  func advance(_ stage: String, done: Int, total: Int, unit: String, note: String)
  /// Ends the stage; `summary` is one line.
  func finish(_ stage: String, _ summary: String)
  /// Shows a line that is no progress: a warning, or what was skipped and why.
  func say(_ line: String)
}

/// A sink that shows nothing, for ranks other than the first and for tests.
public final class SilentProgress: ProgressSink {
  /// Creates a sink that shows nothing.
  public init() {}
  /// Ignores the progress of the stage.
  public func advance(_: String, done _: Int, total _: Int, unit _: String, note _: String) {}
  /// Ignores the end of the stage.
  public func finish(_: String, _: String) {}
  /// Ignores the line.
  public func say(_: String) {}
}
