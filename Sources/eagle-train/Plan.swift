import ArgumentParser
import EagleCluster
import EagleTraining
import Foundation

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Predict step time, efficiency and disk of N nodes from measurements of one node and the link.",
    discussion: """
      Measure first: `eagle-train bench train --json > train.json` on one node, and
      `mpirun … eagle-train bench ranks --json > ranks.json` with one rank on each of two nodes.
      """)

  @Option(help: "What `bench train --json` printed on one node.")
  var train: String

  @Option(help: "What `bench ranks --json` printed between nodes.")
  var ranks: String

  @Option(help: "Numbers of nodes.")
  var nodes = "1,2,4,8,64,512"

  @Option(help: "Tokens of the global batch.")
  var batch = 8192

  @Option(help: "Tokens of the training data, for the times and the disk.")
  var dataTokens = 68_000_000

  @Option(help: "Passes over the data.")
  var epochs = 3

  @Option(help: "Precision of gradients between ranks.")
  var gradients = WireFormat.fp32

  @Option(help: "How much longer the slowest node computes than the mean, as a share.")
  var imbalance = 0.0

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    guard !counts.isEmpty, counts.allSatisfy({ $0 > 0 }), batch > 0, dataTokens > 0, epochs > 0, imbalance >= 0 else {
      throw ValidationError("--nodes is a list such as 1,8,64; the other numbers must be above 0")
    }
  }

  private var counts: [Int] { nodes.split(separator: ",").map { Int($0) ?? 0 } }

  func run() throws {
    let report: BenchmarkReport = try read(train, from: "bench train")
    let link: RanksBenchmark.Report = try read(ranks, from: "bench ranks")
    guard let size = report.parameters, let head = report.headParameters,
      let sum = link.sums.last(where: { $0.wire == .fp32 && $0.bytesSent > 0 })
    else {
      throw TrainingError(
        path: "\(train), \(ranks)", problem: "are not the reports that a plan needs",
        advice: "run bench train, and bench ranks on two nodes, with --json")
    }
    let model = StepModel(
      costs: .init(report), link: .init(bandwidth: sum.bytesPerSecond, latency: link.latency), parameters: size,
      headParameters: head, wireBytes: gradients == .fp32 ? 4 : 2, imbalance: imbalance)
    let steps = counts.map { model.step(nodes: $0, batch: batch) }
    try Bench.show(steps, json ? nil : lines(steps, model, report))
  }

  private func lines(_ steps: [StepModel.Step], _ model: StepModel, _ report: BenchmarkReport) -> [String] {
    let head = String(
      format: "%@, %.1f M parameters, gradients in %@, link %.1f MB/s and %.0f µs, batch of %d tokens",
      report.shape.rawValue, Double(model.parameters) / 1e6, gradients.rawValue, model.link.bandwidth / 1e6,
      model.link.latency * 1e6, batch)
    let names = "nodes   step s  exposed s  efficiency  training h  disk GB/node  batch for 90 %"
    return [head, names]
      + steps.map { step in
        let hours = step.seconds * Double(dataTokens * epochs) / Double(batch) / 3600
        let disk = Double(dataTokens * report.storedBytesPerToken) / 1e9 / Double(step.nodes)
        let best = model.batch(nodes: step.nodes, efficiency: 0.9).map { "\($0)" } ?? "none"
        return String(
          format: "%5d %8.2f %10.2f %9.1f %% %11.2f %13.1f %15@", step.nodes, step.seconds, step.exposed,
          100 * step.efficiency, hours, disk, best as NSString)
      }
  }

  private func read<Report: Decodable>(_ path: String, from command: String) throws -> Report {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw TrainingError(
        path: path, problem: "cannot be read", advice: "write it with `eagle-train \(command) --json`")
    }
    guard let report = try? JSONDecoder().decode(Report.self, from: data) else {
      throw TrainingError(
        path: path, problem: "is not what `\(command)` prints", advice: "write it with `eagle-train \(command) --json`")
    }
    return report
  }
}
