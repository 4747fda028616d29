import EagleCore
import Foundation

extension RunPlan {
  /// The plan as readable lines.
  package func lines() -> [String] {
    heading + needs("disk", disk, "\(Format.bytes(freeDisk)) free")
      + needs(
        "memory of a rank", memory, "the first is shared by the ranks of a node, which has \(Format.bytes(totalMemory))"
      )
      + [""] + table + (gain?.lines ?? []) + [""] + suppositions.map { "supposed: \($0)" } + problems
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
    return ["", "\(title): \(Format.bytes(sum)) (\(remark))"]
      + needs.map { TextTable(.left(48), .right(12)).line("  \($0.name)", Format.bytes($0.bytes)) }
  }

  private var table: [String] {
    let titles = nodes.enumerated().map { index, node in
      index == 0 ? "this start" : "\(Format.count(node.nodes, "node")) x \(node.ranksPerNode)"
    }
    let columns = TextTable([.left(13), .right(12)] + nodes.map { _ in .right(15) })
    func row(_ name: String, _ operations: String, _ cells: [String]) -> String {
      columns.line([name, operations] + cells)
    }
    func times(_ values: [Double]) -> [String] { values.map(Self.time) }
    let work = stages.map { stage in
      row(stage.name, String(format: "%.2e", stage.operations), times(stage.seconds)) + "  \(stage.work)"
    }
    let last = [
      row("total", "", times(totalSeconds)),
      row("a step", "", nodes.map { String(format: "%.2f s", $0.stepSeconds) }),
      row("  exposed", "", nodes.map { $0.exposed.map { String(format: "%.2f s", $0) } ?? "unknown" }),
      row("  efficiency", "", nodes.map { $0.efficiency.map { String(format: "%.0f %%", 100 * $0) } ?? "unknown" }),
      row("memory", "", nodes.map { Format.bytes($0.memory) }),
      row("disk", "", nodes.map { Format.bytes($0.disk) }),
      row("batch, 90 %", "", nodes.map { $0.batchForNinety.map { "\($0)" } ?? "none" }),
    ]
    return [row("", "operations", titles)] + work + last
  }

  /// Seconds as minutes and seconds, or as hours from ten hours on.
  private static func time(_ seconds: Double) -> String {
    seconds >= 36_000 ? String(format: "%.1f h", seconds / 3600) : Format.clock(seconds)
  }
}
