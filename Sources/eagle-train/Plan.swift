import ArgumentParser
import EagleCore
import EaglePlan
import EagleRecipe
import EagleServer
import Foundation

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Forecast the time, memory and disk use of a run before it starts, here and on other clusters.",
    discussion: """
      Reads a share of the data, computes sizes, and measures short parts of the run. Start it in the same way as the \
      run, alone or under mpirun. It writes nothing to the recipe's output folder.
      """)

  @Argument(help: "Recipe (a YAML file).")
  var recipe: String

  @Option(name: .customLong("set"), help: "Replace one setting, for example --set train.epochs=2. May be repeated.")
  var overrides: [String] = []

  @Option(help: "Forecast for these numbers of nodes like this one, for example 1,8,64.")
  var nodes: String?

  @Option(help: "Ranks per node with --nodes. The default is as many as on this node.")
  var ranks: Int?

  @Option(help: "Network bandwidth between the nodes, for example 1Gbit or 10Gbit.")
  var link = "10Gbit"

  @Option(help: "Output file of `bench ranks --json` between two nodes, instead of --link.")
  var linkFile: String?

  @Option(help: "Load imbalance: how much longer the slowest node computes than the mean, as a share.")
  var imbalance = 0.0

  @Option(help: "Tokens of the whole data set, if the files of the recipe are a sample of it.")
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
