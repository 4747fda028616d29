import ArgumentParser
import EagleCore
import EaglePlan
import EagleRecipe
import EagleServer
import Foundation

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what a run will take before it starts: time, memory, disk, here and on other nodes.",
    discussion: """
      Reads a share of the data, works sizes out and measures short pieces of the run: start it as the run will be started,
      alone or under mpirun. Nothing is written under the recipe's output.
      """)

  @Argument(help: "The recipe: a YAML file.")
  var recipe: String

  @Option(name: .customLong("set"), help: "Replace one setting, for example --set train.epochs=2. May be repeated.")
  var overrides: [String] = []

  @Option(help: "Numbers of nodes like this one, for example 1,8,64.")
  var nodes: String?

  @Option(help: "Ranks on each of those nodes; as many as here by default.")
  var ranks: Int?

  @Option(help: "What lies between them: a rate such as 1Gbit or 10Gbit.")
  var link = "10Gbit"

  @Option(help: "What `bench ranks --json` measured between two nodes, instead of --link.")
  var linkFile: String?

  @Option(help: "How much longer the slowest node computes than the mean, as a share.")
  var imbalance = 0.0

  @Option(help: "Tokens of the whole data, when the files at hand are a sample of it.")
  var dataTokens: Int?

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    guard counts.allSatisfy({ (1...100_000).contains($0) }) else {
      throw ValidationError("--nodes is a list of numbers such as 1,8,64, not \(nodes ?? "")")
    }
    guard StepModel.Link(link) != nil else {
      throw ValidationError("--link is a rate such as 1Gbit, 10Gbit or 500Mbit, not \(link)")
    }
    guard (1...4096).contains(ranks ?? 1) else { throw ValidationError("--ranks must be between 1 and 4096") }
    guard imbalance >= 0, imbalance.isFinite, dataTokens ?? 1 > 0 else {
      throw ValidationError("--imbalance must be 0 or more, --data-tokens above 0")
    }
  }

  private var counts: [Int] {
    nodes?.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 } ?? []
  }

  func run() throws {
    try RankLauncher.run { cluster in
      let between = try linkFile.map { try StepModel.Link(measuredIn: $0) } ?? StepModel.Link(link)!
      let recipe = try Recipe.load(path: recipe, overrides: overrides).located(on: cluster) { Output.note($0) }
      let others = OtherClusters(
        nodes: counts, ranksPerNode: ranks, link: between, imbalance: imbalance,
        dataTokens: dataTokens.map(Double.init))
      let temporary = FileManager.default.temporaryDirectory.appendingPathComponent("eagle-plan-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: temporary, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(at: temporary) }
      if let plan = try Planner(recipe, others: others, cluster: cluster).run(folder: temporary.path) {
        try Bench.show(plan, json ? nil : plan.lines())
      }
    }
  }
}
