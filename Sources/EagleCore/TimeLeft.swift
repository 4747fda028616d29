/// An estimate of the time that a stage still takes, from its speed in this process.
///
/// Work of another process or of another part of the run tells nothing about speed; nor does the first report, before
/// which files are read for the first time and buffers are made. So counting begins with the second report, and there
/// is no estimate before some seconds of it have passed.
package struct TimeLeft {
  /// Seconds of counted work before the first estimate.
  package static let leastSeconds = 3.0

  private var reports = 0
  private var start: (seconds: Double, done: Int)?

  package init() {}

  /// - Parameters:
  ///   - done: units that are done, of `total`
  ///   - seconds: on any clock that goes forward
  /// - Returns: seconds; nil where there is no estimate yet, and at the end
  package mutating func estimate(done: Int, total: Int, at seconds: Double) -> Double? {
    reports += 1
    if reports == 2 { start = (seconds, done) }
    guard let start, done > start.done, total > done, seconds - start.seconds >= Self.leastSeconds else { return nil }
    return (seconds - start.seconds) / Double(done - start.done) * Double(total - done)
  }
}
