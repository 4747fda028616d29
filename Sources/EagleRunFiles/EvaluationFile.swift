import EagleCore
import Foundation

/// `evaluation.json`: the records of a run, oldest first.
package enum EvaluationFile {
  /// The records of a file; none when there is no such file.
  package static func read(_ path: String) throws -> [EvaluationRecord] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    return try decode(data, path: path)
  }

  /// Records from the bytes of such a file, which `path` names in errors.
  package static func decode(_ data: Data, path: String) throws -> [EvaluationRecord] {
    guard let records = try? JSONDecoder().decode([EvaluationRecord].self, from: data) else {
      throw LocatedError(path: path, problem: "is not a list of evaluations", advice: "remove it, or restore it")
    }
    return records
  }
}

extension EvaluationFile {
  /// Writes all records, whole or not at all.
  package static func write(_ records: [EvaluationRecord], to path: String) throws {
    try AtomicFile.writeJSON(records, to: path, style: .indentedEscaped)
  }
}
