/// A line of a data file that was rejected, and why.
package struct SkippedLine: Sendable, Equatable, Codable {
  package let line: Int
  package let reason: String
}

/// The tally of a data file's lines, with the budget of rejected ones: more than 1 % of the lines are an error.
///
/// The reader of the lines keeps the tally:
///
/// ```swift
/// var (lines, report) = (try ConversationLines(path: path), ReadReport(path: path))
/// while let line = try lines.next() {
///   switch line.parsed() {
///   case .success(let conversation):
///     use(conversation)
///     report.accept()
///   case .failure(let error):
///     report.reject(line.number, because: error)
///     try report.checkEarly()
///   }
/// }
/// try report.check()
/// ```
package struct ReadReport: Sendable, Equatable, Codable {
  /// Lines after which a file with too many rejected ones is given up before its end.
  private static let linesBeforeEarlyCheck = 1000
  private static let keptReasons = 8

  package let path: String
  /// Accepted lines.
  package private(set) var read = 0
  /// Rejected lines; `skipped` holds the first of them.
  package private(set) var skippedCount = 0
  package private(set) var skipped: [SkippedLine] = []

  package init(path: String) {
    self.path = path
  }

  /// Counts a line that was used.
  package mutating func accept() { read += 1 }

  /// Counts a line that cannot be used.
  package mutating func reject(_ line: Int, because error: any Error) {
    skippedCount += 1
    if skipped.count < Self.keptReasons { skipped.append(SkippedLine(line: line, reason: "\(error)")) }
  }

  /// Throws when more than one line in a hundred was rejected.
  package func check() throws {
    guard let first = skipped.first, skippedCount * 100 > read + skippedCount else { return }
    throw TextError(
      "\(path): \(skippedCount) of \(read + skippedCount) lines cannot be used, more than 1 %; "
        + "the first is line \(first.line): \(first.reason)")
  }

  /// Throws as `check()` does, once there are enough lines to judge a file that is not read to its end yet.
  package func checkEarly() throws {
    if read + skippedCount > Self.linesBeforeEarlyCheck { try check() }
  }
}
