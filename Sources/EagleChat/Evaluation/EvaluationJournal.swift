import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleStorage
import EagleText
import Foundation

/// Finished parts of a running evaluation, so that a restart after a stop or a kill computes only the rest.
///
/// The parts are lines of JSON in `evaluation.partial/` under the output folder; each rank writes its own files. Files
/// and lines contain a key; those with the key of other weights or settings are ignored.
package struct EvaluationJournal {
  private let folder: String
  private let key: String

  /// - Parameters:
  ///   - output: folder of the run
  ///   - key: a digest of everything that determines the results
  package init(output: String, key: String) {
    folder = RunFolder(output).evaluationJournal
    self.key = key
  }

  private struct Line<Item: Codable>: Codable {
    let key: String
    let item: Item
  }

  /// The finished parts of all ranks that write to this disk, in no particular order. An incomplete line is ignored.
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
    // The line break comes first, so that an incomplete line of a killed process does not corrupt this one.
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
  /// SHA-256 of all weights as they are stored in memory, 64 hexadecimal digits.
  package var digest: String {
    var hasher = StreamDigest()
    for parameter in parameters { hasher.update(UnsafeRawBufferPointer(parameter.variable.value.rawBytes)) }
    return hasher.finish()
  }
}
