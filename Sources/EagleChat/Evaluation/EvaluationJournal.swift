import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleStorage
import EagleText
import Foundation

/// Finished parts of an evaluation that is under way, so that the start after a stop or a kill does only what is left.
///
/// The parts are lines of JSON in `evaluation.partial/` under the output folder; each rank writes files of its own.
/// Files and lines carry a key, and those of other weights or other settings are ignored.
package struct EvaluationJournal {
  private let folder: String
  private let key: String

  /// - Parameters:
  ///   - output: folder of the run
  ///   - key: a digest of everything that results follow from
  package init(output: String, key: String) {
    folder = RunFolder(output).evaluationJournal
    self.key = key
  }

  private struct Line<Item: Codable>: Codable {
    let key: String
    let item: Item
  }

  /// The finished parts of all ranks that write to this disk, in no order. A torn line counts as absent.
  package func read<Item: Codable>(_ kind: String, _: Item.Type) -> [Item] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.sorted().filter { $0.hasPrefix(name(kind)) }.flatMap { name -> [Item] in
      let lines = FileManager.default.contents(atPath: "\(folder)/\(name)")?.split(separator: UInt8(ascii: "\n")) ?? []
      return lines.compactMap { line in
        guard let line = try? JSONDecoder().decode(Line<Item>.self, from: Data(line)), line.key == key else {
          return nil
        }
        return line.item
      }
    }
  }

  /// Adds a finished part.
  package func append<Item: Codable>(_ item: Item, _ kind: String, rank: Int) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = "\(folder)/\(name(kind))\(rank).jsonl"
    // The line break comes first, so that a line that a kill has torn does not spoil this one.
    let line = try JSONEncoder().encode(Line(key: key, item: item))
    try AppendedFile.append(Data("\n".utf8) + line, to: path)
  }

  /// The prefix of the names of a kind's files.
  private func name(_ kind: String) -> String { "\(kind)-\(key.prefix(8))-" }

  /// Removes the files of this evaluation, once its results are written; with `others` those of all evaluations.
  package func remove(others: Bool = false) {
    let files = FileManager.default
    let names = (try? files.contentsOfDirectory(atPath: folder)) ?? []
    for name in names where others || name.contains("-\(key.prefix(8))-") {
      try? files.removeItem(atPath: "\(folder)/\(name)")
    }
    rmdir(folder)  // does nothing while something is left in it
  }
}

extension DraftModel {
  /// SHA-256 of all weights as they are kept in memory, 64 hexadecimal digits.
  package var digest: String {
    var hasher = StreamDigest()
    for parameter in parameters { hasher.update(UnsafeRawBufferPointer(parameter.variable.value.rawBytes)) }
    return hasher.finish()
  }
}
