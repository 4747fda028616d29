import EagleCore
import Foundation

/// The results of a run as one self-contained page: it needs no network and no scripts.
package struct RunReport {
  private let record: RunRecord

  /// Reads the folder of a run, finished or not.
  ///
  /// - Parameters:
  ///   - folder: the run's output
  ///   - recipe: canonical text of the recipe, for a run that has not stored it
  /// - Throws: when the folder contains no run
  package init(folder: String, recipe: String? = nil) throws {
    record = try RunRecord(folder: folder, recipe: recipe)
  }

  /// The page.
  package var html: String { ReportPage(record).text }

  /// The content of the page's `main`, for a page that is open during the run.
  package var content: String { ReportPage(record).content }

  /// The page without content. Its script fills it from the events of a dashboard.
  package static var livePage: String {
    ReportPage.document(title: "Draft head in training", main: "", before: LivePage.status, after: LivePage.script)
  }

  /// Writes the page atomically.
  package func write(to path: String) throws { try AtomicFile.write(path: path, data: Data(html.utf8)) }
}
