import EagleCore
import Foundation

extension Communicator {
  /// Fails on every rank when the ranks do not hold the same text, and passes on all of them otherwise.
  ///
  /// - Parameters:
  ///   - text: what must be the same everywhere, for example the canonical recipe.
  ///   - about: its name in the error, for example "the recipe".
  /// - Throws: `ClusterError.disagreement` naming the ranks that differ from rank 0 and the first line that does.
  package func agree(on text: String, about: String) throws {
    let hashes = try allGather(fingerprint(of: text))
    let others = hashes.indices.filter { hashes[$0] != hashes[0] }
    guard let other = others.first else { return }
    // Only now, when the run ends anyway, are the whole texts worth sending.
    let texts = try allGather(Data(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
    throw ClusterError.disagreement(
      about: about, ranks: others, detail: firstDifference(texts[0], texts[other], rank: other))
  }

  private func fingerprint(of text: String) -> Data {
    withUnsafeBytes(of: FNV1a.hash(text).littleEndian) { Data($0) }
  }

  private func firstDifference(_ root: String, _ other: String, rank: Int) -> String {
    let rootLines = root.split(separator: "\n", omittingEmptySubsequences: false)
    let otherLines = other.split(separator: "\n", omittingEmptySubsequences: false)
    let line = zip(rootLines, otherLines).prefix { $0 == $1 }.count
    func text(_ lines: [Substring]) -> String {
      line < lines.count ? "'\(lines[line].trimmingCharacters(in: .whitespaces))'" : "nothing"
    }
    return "line \(line + 1): rank 0 has \(text(rootLines)), rank \(rank) has \(text(otherLines))"
  }
}
