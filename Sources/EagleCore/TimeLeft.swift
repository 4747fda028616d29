/// How long the rest of a stage takes, from how fast it has been here.
///
/// Work that was done before, in another process or another part of the run, says nothing about speed; nor does the first piece,
/// which reads files for the first time and makes buffers. So counting begins with the second report, and nothing is said
/// before some seconds of it have passed.
package struct TimeLeft {
  /// Seconds of counted work before the first estimate.
  package static let leastSeconds = 3.0

  private var reports = 0
  private var start: (seconds: Double, done: Int)?

  package init() {}

  /// - Parameters:
  ///   - done: units that are done, of `total`
  ///   - seconds: on any clock that goes forward
  /// - Returns: seconds, or nil where nothing can be said yet, and at the end
  package mutating func estimate(done: Int, total: Int, at seconds: Double) -> Double? {
    reports += 1
    if reports == 2 { start = (seconds, done) }
    guard let start, done > start.done, total > done, seconds - start.seconds >= Self.leastSeconds else { return nil }
    return (seconds - start.seconds) / Double(done - start.done) * Double(total - done)
  }
}
