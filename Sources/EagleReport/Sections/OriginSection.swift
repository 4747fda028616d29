import Foundation

/// The origin of the run: fingerprints, libraries, hosts, and the recipe.
struct OriginSection {
  let record: RunRecord

  init(_ record: RunRecord) { self.record = record }

  var html: String {
    HTML.section("Origin", id: "origin", [HTML.list(entries), starts, hosts, recipe])
  }

  private var entries: [(String, String)] {
    var entries: [(String, String)] = []
    if let path = record.targetPath { entries.append(("target", "<code>\(HTML.escape(path))</code>")) }
    if let fingerprint = record.targetFingerprint {
      entries.append(("target's fingerprint", "<code>\(HTML.escape(fingerprint))</code>"))
    }
    if let fingerprint = record.data?.fingerprint {
      entries.append(("data's fingerprint", "<code>\(HTML.escape(fingerprint))</code>"))
    }
    if let shape = record.draftShape {
      entries += [
        ("captured layers", shape.captureLayers.map(String.init).joined(separator: ", ")),
        ("hidden size", HTML.number(shape.hiddenSize)), ("draft vocabulary", HTML.number(shape.draftVocabularySize)),
      ]
    }
    for (name, version) in record.timing?.starts.last?.versions.sorted(by: { $0.key < $1.key }) ?? [] {
      entries.append((name, HTML.escape(version)))
    }
    return entries
  }

  private var starts: String {
    guard let timing = record.timing, timing.starts.count > 1 else { return "" }
    let rows = timing.starts.map { start in
      [
        Headline.text(Date(timeIntervalSince1970: start.time)),
        start.step == 0 ? "the beginning" : "step \(HTML.number(start.step))", HTML.number(start.ranks.count),
      ]
    }
    return HTML.table("starts", ["when", "went on after", "ranks"], rows)
  }

  private var hosts: String {
    guard let start = record.timing?.starts.last else {
      return HTML.missing("This run has no timing.json, so its hosts and libraries are not known.")
    }
    let groups = Dictionary(grouping: start.ranks.enumerated(), by: \.element.host)
    let rows = groups.sorted { $0.value[0].offset < $1.value[0].offset }.map { host, ranks in
      [
        HTML.escape(host), Self.ranges(ranks.map(\.offset)),
        Set(ranks.map { "\($0.element.threads)" }).sorted().joined(separator: ", "),
        HTML.escape(Set(ranks.map(\.element.processor)).sorted().joined(separator: ", ")),
      ]
    }
    return HTML.table("hosts of the last start", ["host", "ranks", "threads of each", "instruction set"], rows)
  }

  /// Ranks as ranges: `0–3, 8`.
  private static func ranges(_ numbers: [Int]) -> String {
    var ranges: [(Int, Int)] = []
    for number in numbers.sorted() {
      if let last = ranges.last, last.1 == number - 1 {
        ranges[ranges.count - 1].1 = number
      } else {
        ranges.append((number, number))
      }
    }
    return ranges.map { $0.0 == $0.1 ? "\($0.0)" : "\($0.0)–\($0.1)" }.joined(separator: ", ")
  }

  private var recipe: String {
    guard let recipe = record.recipe else {
      let text = "This run has kept no recipe.json; give the recipe in place of the folder to see its settings."
      return HTML.missing(text)
    }
    return HTML.details("The recipe, every setting", "<pre><code>\(HTML.escape(recipe))</code></pre>")
  }
}
