import EagleCore
import Foundation

/// `metrics.jsonl`, one object a line.
package struct MetricsFile {
  package let path: String

  package init(path: String) {
    self.path = path
  }

  /// Drops the lines of steps after `step`, which a restart will do again, and a torn last line.
  package func truncate(after step: Int) throws {
    guard let data = FileManager.default.contents(atPath: path) else { return }
    let kept = data.split(separator: UInt8(ascii: "\n")).filter {
      (try? JSONDecoder().decode(Line.self, from: Data($0))).map { $0.step <= step } ?? false
    }
    let text = kept.reduce(into: Data()) { $0.append($1 + Data("\n".utf8)) }
    if text != data { try AtomicFile.write(path: path, data: text) }
  }

  /// The field that every line has.
  private struct Line: Decodable { let step: Int }

  package func append(_ metrics: some Encodable) throws {
    try AppendedFile.append(try JSONStyle.compactEscaped.encode(metrics) + Data("\n".utf8), to: path)
  }
}
