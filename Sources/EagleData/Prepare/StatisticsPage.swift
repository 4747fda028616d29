import EagleCore
import EagleRunFiles
import Foundation

/// The statistics as a Markdown page: `prepared/statistics.md`.
enum StatisticsPage {
  static func text(_ s: DataStatistics, run: String, vocabularySize: Int) -> String {
    var lines = ["# Data of \(run)", "", table(["", ""], rows(s))]
    lines += ["", "## Tokens by role", "", table(["role", "tokens", "share"], roles(s))]
    lines += ["", "## Languages", "", "Told by script.", ""]
    lines.append(
      table(
        ["language", "conversations", "tokens", "trained", "in the draft vocabulary of \(vocabularySize)"], languages(s)
      ))
    lines += [
      "", "## Draft vocabulary", "", "Share of the trained tokens among the most frequent ones, by their number.", "",
    ]
    lines.append(coverage(s))
    lines += ["", "## Lengths", "", lengths(s)]
    if !s.leftOut.isEmpty {
      lines += ["", "## Left out", "", table(["why", "conversations", "for example"], leftOut(s))]
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func rows(_ s: DataStatistics) -> [[String]] {
    [
      ["conversations", "\(s.conversations)"], ["of these held out", "\(s.heldOut)"], ["user turns", "\(s.turns)"],
      ["rows of one answer each", s.split == 0 ? "0" : "\(s.answerRows), of \(s.split) conversations"],
      ["tokens", "\(s.tokens)"],
      [
        "trained tokens",
        "\(s.assistantTokens), \(Format.percent(Double(s.assistantTokens) / Double(max(1, s.tokens))))",
      ],
      ["cut at the greatest length", "\(s.cut)"], ["left out", "\(s.leftOut.values.reduce(0, +))"],
      ["lines that cannot be read", "\(s.skippedLines)"],
    ]
  }

  private static func roles(_ s: DataStatistics) -> [[String]] {
    s.tokensByRole.sorted { $0.key < $1.key }
      .map { [$0.key, "\($0.value)", Format.percent(Double($0.value) / Double(max(1, s.tokens)))] }
  }

  private static func sortedLanguages(_ s: DataStatistics) -> [(key: String, value: DataStatistics.PerLanguage)] {
    s.languages.sorted { ($1.value.tokens, $0.key) < ($0.value.tokens, $1.key) }
  }

  private static func languages(_ s: DataStatistics) -> [[String]] {
    sortedLanguages(s).map { name, l in
      [name, "\(l.conversations)", "\(l.tokens)", "\(l.assistantTokens)", Format.percent(l.vocabularyCoverage)]
    }
  }

  private static func coverage(_ s: DataStatistics) -> String {
    let sizes = s.coverageBySize.keys.sorted()
    let all = ["all"] + sizes.map { Format.percent(s.coverageBySize[$0]!) }
    let others = sortedLanguages(s).map { name, l in [name] + sizes.map { Format.percent(l.coverageBySize[$0] ?? 0) } }
    return table(["language"] + sizes.map(String.init), [all] + others)
  }

  private static func lengths(_ s: DataStatistics) -> String {
    let most = s.lengths.values.max() ?? 1
    let rows = s.lengths.sorted { $0.key < $1.key }.map { bound, count in
      ["at most \(bound)", "\(count)", String(repeating: "#", count: (40 * count + most - 1) / most)]
    }
    return table(["tokens", "conversations", ""], rows)
  }

  private static func leftOut(_ s: DataStatistics) -> [[String]] {
    s.leftOut.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
      .map {
        [
          LeftOut.text(ofKey: $0.key), "\($0.value)",
          (s.leftOutExamples[$0.key] ?? "").replacingOccurrences(of: "|", with: "/"),
        ]
      }
  }

  private static func table(_ head: [String], _ rows: [[String]]) -> String {
    ([head, head.map { _ in "---" }] + rows).map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
  }
}
