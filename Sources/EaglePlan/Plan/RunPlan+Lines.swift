import Foundation

extension RunPlan {
  /// Lines for people.
  public func lines() -> [String] {
    heading + needs("disk", disk, "\(Self.bytes(freeDisk)) free")
      + needs(
        "memory of a rank", memory, "the first is shared by the ranks of a node, which has \(Self.bytes(totalMemory))")
      + [""] + table + suppositions.map { "supposed: \($0)" } + problems
  }

  private var heading: [String] {
    let source =
      corpus.readShare >= 1
      ? "counted" : String(format: "estimated from %.1f %% of the bytes", 100 * corpus.readShare)
    return [
      "\(run): \(measured); measured for \(Self.time(measuringSeconds))",
      String(
        format: "data: %.0f conversations, %.0f tokens, %.1f %% of them trained, %@; %ld steps an epoch",
        corpus.conversations, corpus.tokens, 100 * corpus.trainedShare, source, corpus.stepsPerEpoch),
    ]
  }

  private func needs(_ title: String, _ needs: [Need], _ remark: String) -> [String] {
    let sum = needs.reduce(0) { $0 + $1.bytes }
    return ["", "\(title): \(Self.bytes(sum)) (\(remark))"]
      + needs.map { "  \(Self.padded($0.name, 46))\(Self.right(Self.bytes($0.bytes), 12))" }
  }

  private var table: [String] {
    let titles = nodes.enumerated().map { index, node in
      index == 0 ? "this start" : "\(node.nodes) node\(node.nodes == 1 ? "" : "s") x \(node.ranksPerNode)"
    }
    func row(_ name: String, _ operations: String, _ cells: [String]) -> String {
      Self.padded(name, 13) + Self.right(operations, 12) + cells.map { Self.right($0, 15) }.joined()
    }
    func times(_ values: [Double]) -> [String] { values.map(Self.time) }
    let work = stages.map { stage in
      row(stage.name, String(format: "%.2e", stage.operations), times(stage.seconds)) + "  \(stage.work)"
    }
    let last = [
      row("total", "", times(totalSeconds)),
      row("a step", "", nodes.map { String(format: "%.2f s", $0.stepSeconds) }),
      row("  exposed", "", nodes.map { String(format: "%.2f s", $0.exposed) }),
      row("  efficiency", "", nodes.map { String(format: "%.0f %%", 100 * $0.efficiency) }),
      row("memory", "", nodes.map { Self.bytes($0.memory) }),
      row("disk", "", nodes.map { Self.bytes($0.disk) }),
      row("batch, 90 %", "", nodes.map { $0.batchForNinety.map { "\($0)" } ?? "none" }),
    ]
    return [row("", "operations", titles)] + work + last
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }

  private static func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - text.count)) + text
  }

  /// Seconds as minutes and seconds, or hours.
  private static func time(_ seconds: Double) -> String {
    if seconds >= 36_000 { return String(format: "%.1f h", seconds / 3600) }
    let whole = Int(seconds.rounded())
    if whole >= 3600 { return String(format: "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60) }
    return String(format: "%d:%02d", whole / 60, whole % 60)
  }
}
