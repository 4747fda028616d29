import EagleCore
import Foundation

/// The results of a run as one page that needs nothing else: no network, no scripts.
package struct RunReport {
  private let record: RunRecord

  /// Reads the folder of a run, finished or not.
  ///
  /// - Parameters:
  ///   - folder: the run's output
  ///   - recipe: canonical text of the recipe, for a run that has kept none
  /// - Throws: when the folder holds nothing of a run
  package init(folder: String, recipe: String? = nil) throws {
    record = try RunRecord(folder: folder, recipe: recipe)
  }

  /// The page.
  package var html: String { ReportPage(record).text }

  /// The content of the page's `main`, for a page that is open while the run goes on.
  package var content: String { ReportPage(record).content }

  /// The page without content, which follows the events of a dashboard and fills itself.
  package static var livePage: String {
    ReportPage.document(title: "Draft head in training", main: "", before: LivePage.status, after: LivePage.script)
  }

  /// Writes the page, whole or not at all.
  package func write(to path: String) throws { try AtomicFile.write(path: path, data: Data(html.utf8)) }
}
