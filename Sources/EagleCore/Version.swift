import CEagleVersion
import Foundation

/// The version of the commands and of the formats that they write.
package enum Version {
  package static let number = "0.1.0"

  /// The commit that was built; "unknown" where the build did not know it.
  package static var commit: String { String(cString: eagle_commit()) }

  /// The text of `--version`: version and commit, then a line for each row.
  ///
  /// - Parameter rows: names of libraries or capabilities, with their values
  package static func text(command: String, _ rows: [(name: String, value: String)]) -> String {
    let table = TextTable(.left(13))
    let lines = rows.map { table.line("  \($0.name)", $0.value) }
    return (["\(command) \(number), commit \(commit)"] + lines).joined(separator: "\n")
  }
}
