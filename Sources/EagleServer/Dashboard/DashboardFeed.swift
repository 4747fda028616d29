import EagleCore
import EagleReport
import EagleRunFiles
import Foundation

/// The content of a run's page, rendered again when the run's files have changed. All clients share it.
///
/// Rendering takes time of a core that the run could use, and takes longer as the run grows. The pause before the next
/// rendering is therefore at least 200 times the duration of the last one, which limits the cost to 0.5% of a core.
package actor DashboardFeed {
  package struct Version: Sendable {
    package let number: Int
    package let content: String
  }

  private let folder: RunFolder
  private var newest: Version?
  private var shownDates: [String: Date] = [:]
  private var next = ContinuousClock.now
  private(set) var isEnding = false

  /// The files that the page is made from.
  private var files: [String] {
    [folder.metrics, folder.evaluation, folder.examples, folder.timing, folder.preparedManifest]
  }
  private static let pausePerSecond = 200

  package init(folder: String) { self.folder = RunFolder(folder) }

  /// The page's content, if it is newer than version `seen`.
  package func version(after seen: Int) -> Version? {
    if isEnding || ContinuousClock.now >= next { drawIfChanged() }
    return newest.flatMap { $0.number > seen ? $0 : nil }
  }

  /// Ends the feed with the run: the last state is rendered without a pause.
  package func end() { isEnding = true }

  private func drawIfChanged() {
    let dates = files.reduce(into: [String: Date]()) { $0[$1] = Self.changed($1) }
    guard dates != shownDates || newest == nil else { return }
    let start = ContinuousClock.now
    let content: String
    do {
      content = try RunReport(folder: folder.path).content
    } catch {
      // Without these files, the run has not measured anything yet.
      content = dates.isEmpty ? "<p>Nothing has been measured yet.</p>" : "<p>\(HTML.escape("\(error)"))</p>"
    }
    shownDates = dates
    newest = Version(number: (newest?.number ?? 0) + 1, content: content)
    let end = ContinuousClock.now
    next = end + max(.seconds(1), start.duration(to: end) * Self.pausePerSecond)
  }

  private static func changed(_ path: String) -> Date? {
    (try? FileManager.default.attributesOfItem(atPath: path))?[.modificationDate] as? Date
  }
}
