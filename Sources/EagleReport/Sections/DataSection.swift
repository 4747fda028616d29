import EagleRunFiles
import Foundation

/// The statistics of the conversations, from `prepared/manifest.json`.
struct DataSection {
  let record: RunRecord

  init(_ record: RunRecord) { self.record = record }

  var html: String {
    guard let data = record.data else {
      let text = "There are no statistics of the data: prepared/manifest.json is missing, or older than they are."
      return HTML.section("Data", id: "data", [HTML.missing(text)])
    }
    let s = data.statistics
    return HTML.section(
      "Data", id: "data",
      [
        HTML.list(entries(s)), "<div class=\"charts\">", lengths(s), coverage(s, size: data.draftVocabulary.count),
        "</div>", "<div class=\"charts\">", roles(s), languages(s), "</div>", leftOut(s),
      ])
  }

  private func entries(_ s: DataStatistics) -> [(String, String)] {
    [
      ("conversations", HTML.number(s.conversations)), ("of these held out", HTML.number(s.heldOut)),
      ("user turns", HTML.number(s.turns)), ("tokens", HTML.number(s.tokens)),
      (
        "trained tokens",
        HTML.number(s.assistantTokens) + ", " + HTML.percent(Double(s.assistantTokens) / Double(max(1, s.tokens)))
      ),
      ("cut at the greatest length", HTML.number(s.cut)),
      ("left out", HTML.number(s.leftOut.values.reduce(0, +))),
      ("lines that cannot be read", HTML.number(s.skippedLines)),
    ]
  }

  private func lengths(_ s: DataStatistics) -> String {
    let sorted = s.lengths.sorted { $0.key < $1.key }
    let most = sorted.max { $0.value < $1.value }
    return BarChart(
      id: "lengths", title: "Conversations by length",
      description: most.map { "The most, \($0.value), have up to \($0.key) tokens and more than half of that." } ?? "",
      xName: "tokens, at most", bars: sorted.map { ("\($0.key)", Double($0.value)) }
    ).figure()
  }

  private func coverage(_ s: DataStatistics, size: Int) -> String {
    let sorted = s.coverageBySize.sorted { $0.key < $1.key }
    guard !sorted.isEmpty else { return HTML.missing("The statistics have no coverage by size of the vocabulary.") }
    let covered = String(format: "%.1f", 100 * s.vocabularyCoverage)
    return BarChart(
      id: "coverage", title: "Trained tokens within the D most frequent; this run has D = \(HTML.grouped(size))",
      description: "The draft vocabulary of \(size) covers \(covered) percent of the trained tokens.",
      xName: "D, size of the draft vocabulary",
      bars: sorted.map { (String(format: "%.3gk", Double($0.key) / 1000), $0.value) }, isFraction: true
    ).figure()
  }

  private func roles(_ s: DataStatistics) -> String {
    let rows = s.tokensByRole.sorted { $0.value > $1.value }.map { role, tokens in
      [HTML.escape(role), HTML.number(tokens), HTML.percent(Double(tokens) / Double(max(1, s.tokens)))]
    }
    return HTML.table("tokens by role, headers included", ["role", "tokens", "share"], rows)
  }

  private func languages(_ s: DataStatistics) -> String {
    let sorted = s.languages.sorted { ($1.value.tokens, $0.key) < ($0.value.tokens, $1.key) }
    let rows = sorted.map { name, language in
      [
        HTML.escape(name), HTML.number(language.conversations), HTML.number(language.tokens),
        HTML.percent(language.vocabularyCoverage),
      ]
    }
    return HTML.table(
      "languages, told by script", ["language", "conversations", "tokens", "within D"], rows)
  }

  private func leftOut(_ s: DataStatistics) -> String {
    guard !s.leftOut.isEmpty else { return "" }
    let rows = s.leftOut.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
      .map {
        [
          HTML.escape(LeftOut.text(ofKey: $0.key)), HTML.number($0.value),
          HTML.long(s.leftOutExamples[$0.key] ?? ""),
        ]
      }
    return HTML.table("left out", ["why", "conversations", "for example"], rows)
  }
}
