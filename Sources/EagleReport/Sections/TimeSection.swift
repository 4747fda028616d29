import EagleRunFiles
import Foundation

/// The speed of training, and the time of each rank by phase.
struct TimeSection {
  let record: RunRecord

  init(_ record: RunRecord) { self.record = record }

  /// The maximum number of ranks with a bar.
  private static let mostRanks = 16
  private static let other = "other"

  var html: String {
    var charts: [String] = []
    var tables: [String] = []
    if !record.steps.isEmpty {
      charts.append(CurvesSection(record).single("speed", "Tokens per second", \.tokensPerSecond))
      tables.append(HTML.list(speeds))
    }
    if let timing = record.timing, case let sums = sums(timing), !sums.isEmpty {
      charts.append(phases(sums))
      tables += [epochs(timing), table(sums)]
    } else {
      tables.append(HTML.missing("This run has no timing.json, so where the time went is not known."))
    }
    return HTML.section("Time", id: "time", ["<div class=\"charts\">"] + charts + ["</div>"] + tables)
  }

  private var speeds: [(String, String)] {
    let all = record.history.total
    var entries = [
      ("tokens trained", HTML.number(all.tokens)), ("time of the steps", Self.duration(all.seconds)),
      ("mean tokens per second", HTML.number(Double(all.tokens) / all.seconds, digits: 0)),
    ]
    if all.communicating > 0 {
      entries += [
        ("waiting for other ranks", HTML.percent(all.exposed / all.seconds)),
        ("mean imbalance", HTML.percent(all.imbalance / Double(all.communicating))),
      ]
    }
    return entries
  }

  /// Seconds of each rank by phase over the whole run, whose starts may have had different numbers of ranks.
  private func sums(_ timing: RunTiming) -> [[String: Double]] {
    timing.parts.reduce(into: [[String: Double]]()) { sums, part in
      for (rank, phases) in part.phases.enumerated() {
        if rank == sums.count { sums.append([:]) }
        for (name, seconds) in phases { sums[rank][name, default: 0] += seconds }
        // Sorted, so that the sum is reproducible bit for bit.
        let other = part.seconds - phases.values.sorted().reduce(0, +)
        sums[rank][Self.other, default: 0] += max(0, other)
      }
    }
  }

  private func names(_ sums: [[String: Double]]) -> [String] {
    (Phase.allCases.map(\.rawValue) + [Self.other]).filter { name in sums.contains { ($0[name] ?? 0) > 0 } }
  }

  private func phases(_ sums: [[String: Double]]) -> String {
    let names = names(sums)
    let rows = sums.prefix(Self.mostRanks).enumerated().map { rank, phases in
      (name: "rank \(rank)", values: names.map { phases[$0] ?? 0 })
    }
    let largest = names.max { (sums[0][$0] ?? 0) < (sums[0][$1] ?? 0) } ?? ""
    let part = sums.count > rows.count ? ", first \(rows.count) of \(sums.count) ranks" : ""
    return StackChart(
      id: "phases", title: "Where the time of training went\(part)",
      description: String(
        format: "Rank 0 spent most in %@, %.1f seconds.", Self.words(largest) as NSString, sums[0][largest] ?? 0),
      xName: "seconds", parts: names.map(Self.words), rows: rows
    ).figure()
  }

  private func table(_ sums: [[String: Double]]) -> String {
    let names = names(sums)
    let ranks = sums.prefix(Self.mostRanks)
    let rows = names.map { name in
      [Self.words(name)] + ranks.map { HTML.number($0[name] ?? 0, digits: 1) }
    }
    return HTML.details(
      "Seconds by phase and rank",
      HTML.table("seconds, evaluations not counted", ["phase"] + ranks.indices.map { "rank \($0)" }, rows))
  }

  private func epochs(_ timing: RunTiming) -> String {
    let rows = Dictionary(grouping: timing.parts, by: \.epoch).sorted { $0.key < $1.key }.map { epoch, parts in
      let seconds = parts.reduce(0) { $0 + $1.seconds }
      let evaluation = record.evaluations.first { $0.epoch == epoch }?.seconds
      return [
        HTML.number(epoch), parts.map { "\($0.firstStep) to \($0.lastStep)" }.joined(separator: ", "),
        HTML.number(parts.last!.phases.count), Self.duration(seconds),
        HTML.number(record.history.sums[epoch]?.tokens ?? 0),
        evaluation.map(Self.duration) ?? "–",
      ]
    }
    return HTML.table("by epoch", ["epoch", "steps", "ranks", "training", "tokens", "evaluation"], rows)
  }

  private static func words(_ phase: String) -> String { phase.replacingOccurrences(of: "_", with: " ") }

  static func duration(_ seconds: Double) -> String {
    // A value above 30,000 years is not a valid duration, and its minutes may not fit into an integer.
    guard seconds.isFinite, abs(seconds) < 1e12 else { return "–" }
    if seconds < 60 { return "<data value=\"\(seconds)\">\(String(format: "%.1f", seconds)) s</data>" }
    let minutes = Int((seconds / 60).rounded())
    let text = minutes < 60 ? "\(minutes) min" : "\(minutes / 60) h \(minutes % 60) min"
    return "<data value=\"\(seconds)\">\(text)</data>"
  }
}
