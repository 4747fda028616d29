import ArgumentParser
import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleTensor
import Foundation

struct Tune: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Find the fastest draft plan for this machine, target and head, and store it with the head.")

  @OptionGroup var models: ModelOptions

  @Option(help: "Prompt file with typical prompts, in a format of bench. May be repeated.")
  var prompts: [String]

  @Option(help: "Maximum number of prompts per file.")
  var limit = 8

  @Option(help: "Maximum number of new tokens per turn.")
  var maxTokens = 96

  @Option(
    help: """
      Draft plan to try instead of the default plans. 3 is a chain of three tokens; 4x3:8 is a tree of depth 4, \
      width 3 and 8 nodes. The suffix +adaptive makes the plan adaptive: costs can end a draft early. May be repeated.
      """)
  var plan: [TrialPlan] = []

  @Option(help: "Write all measurements to this file as JSON.")
  var json: String?

  @Flag(help: "Measure only, and store nothing with the head.")
  var dryRun = false

  func validate() throws {
    guard models.draft != nil else { throw ValidationError("tune needs a draft head: give it with --draft") }
    guard limit > 0, maxTokens > 0 else { throw ValidationError("--limit and --max-tokens must be above 0") }
  }

  func run() throws {
    let (model, draft) = try models.load()
    let evaluator = try Evaluator(
      model: model, config: EvaluateConfig(try PromptFiles.named(prompts), limit: limit, maxTokens: maxTokens))
    let costs = try DecodingCosts.measure(target: model.target, draft: draft!)
    showCosts(costs, model.target)
    for plan in plan { try plan.shape.requireFit(draft!) }
    let plans = (plan.isEmpty ? TrialPlan.usual(draft!) : plan).map { $0.plan(costs) }
    let results = try evaluator.run(draft!, plans: plans)
    let measured = plans.indices.map { plan in TunedPlan(plans[plan], results.values.map { $0[plan] }) }
    let texts = Result { try results.values.flatMap { $0 }.requireEqualTexts() }
    let best = measured.max { $0.tokensPerSecond < $1.tokensPerSecond }!
    // Files are written first, so that a closed pipe of the table does not lose the measurements.
    if let json { try EagleRun.write(TuneResult(costs: costs, plans: measured, benchmarks: results), to: json) }
    let written =
      try dryRun || (try? texts.get()) == nil
      ? nil : decodingFile(best, costs, model, draft!).write(draft: try ModelOptions.path(models.draft!))
    for line in TunedPlan.table(measured) { try Output.write(line + "\n") }
    try texts.get()
    try Output.write(String(format: "fastest: \(best.plan), %.2f times plain decoding\n", best.speedup))
    if let written { try Output.write("written to \(written)\n") }
  }

  private func decodingFile(_ best: TunedPlan, _ costs: DecodingCosts, _ model: ChatModel, _ draft: DraftModel)
    -> DecodingFile
  {
    DecodingFile(
      plan: best.plan, costs: costs, tokensPerSecond: best.tokensPerSecond,
      plainTokensPerSecond: best.plainTokensPerSecond,
      environment: DecodingFile.Environment(target: model.target, weights: models.weights, draft: draft))
  }

  private func showCosts(_ costs: DecodingCosts, _ target: TargetModel) {
    let one = costs.targetPass[0]
    let rows = [2, 3, 4, 5, 6, 8, 12].map { String(format: "%d tokens %.2f", $0, costs.targetPass[$0 - 1] / one) }
    let step = String(format: "a draft pass %.3f", costs.draftPass / one)
    if models.weights == .stored { Output.note(Matmul.describe(batchInvariant: target.precision)) }
    Output.note(
      String(format: "a target pass over one token takes %.1f ms; relative to it: ", one * 1000)
        + (rows + [step]).joined(separator: ", "))
    guard let reading = costs.reading else { return }
    Output.note(
      String(
        format: "it reads %.0f MB of weights at %.1f GB/s, %.0f %% of the read bandwidth of all threads (%.1f GB/s)",
        Double(reading.bytes) / 1e6, Double(reading.bytes) / one / 1e9, 100 * reading.seconds / one,
        Double(reading.bytes) / reading.seconds / 1e9))
  }
}

/// A draft plan to try, in the syntax of a flag.
struct TrialPlan: ExpressibleByArgument {
  let shape: DraftPlan
  private let isAdaptive: Bool

  init?(argument: String) {
    let parts = argument.split(separator: "+", omittingEmptySubsequences: false)
    guard parts.count == 1 || (parts.count == 2 && parts[1] == "adaptive") else { return nil }
    isAdaptive = parts.count == 2
    let numbers = parts[0].split(whereSeparator: { "x:".contains($0) }).map { Int($0) }
    switch (numbers.count, parts[0].contains("x"), parts[0].contains(":")) {
    case (1, false, false): shape = numbers[0].map(DraftPlan.chain) ?? .chain(-1)
    case (3, true, true):
      guard let depth = numbers[0], let width = numbers[1], let nodes = numbers[2] else { return nil }
      shape = DraftPlan(depth: depth, width: width, nodes: nodes)
    default: return nil
    }
    guard (try? shape.validate()) != nil, shape.depth > 0 else { return nil }
  }

  /// The plans that are tried by default. For a block drafter, whose longer drafts need no additional pass, they
  /// include the whole block.
  static func usual(_ draft: DraftModel) -> [TrialPlan] {
    guard let longest = draft.shape.longestDraft else {
      return ["1", "2", "3", "4", "5", "2x2:4", "3x2:4", "3x3:8", "6+adaptive", "4x3:8+adaptive"].compactMap(
        TrialPlan.init(argument:))
    }
    let trees = [
      "2x2:4", "3x2:6", "\(longest)x2:\(max(8, longest))+adaptive", "\(longest)x3:\(max(12, longest))+adaptive",
    ]
    return ((1...longest).map(String.init) + ["\(longest)+adaptive"] + trees).compactMap(TrialPlan.init(argument:))
      .filter { $0.shape.depth <= longest }
  }

  func plan(_ costs: DecodingCosts) -> DraftPlan {
    DraftPlan(depth: shape.depth, width: shape.width, nodes: shape.nodes, costs: isAdaptive ? costs : nil)
  }
}

private struct TuneResult: Encodable {
  let costs: DecodingCosts
  let plans: [TunedPlan]
  /// The results by name of the benchmark, in the order of the plans.
  let benchmarks: [String: [BenchmarkResult]]
}

/// The results of one plan over all prompts.
private struct TunedPlan: Encodable {
  let plan: DraftPlan
  let accLength: Double
  let tokensPerSecond: Double
  let plainTokensPerSecond: Double
  let targetRowsPerPass: Double
  var speedup: Double { tokensPerSecond / plainTokensPerSecond }

  init(_ plan: DraftPlan, _ results: [BenchmarkResult]) {
    var (speculative, plain) = (DecodingStatistics(), DecodingStatistics())
    for counts in results.compactMap(\.counts) {
      speculative += counts.speculative
      plain += counts.plain
    }
    self.plan = plan
    accLength = speculative.acceptanceLength
    tokensPerSecond = speculative.tokensPerSecond
    plainTokensPerSecond = plain.tokensPerSecond
    targetRowsPerPass = Double(speculative.targetRows) / Double(max(1, speculative.targetPasses))
  }

  enum CodingKeys: String, CodingKey {
    case plan
    case accLength = "acc_length"
    case tokensPerSecond = "tokens_per_second"
    case plainTokensPerSecond = "plain_tokens_per_second"
    case targetRowsPerPass = "target_rows_per_pass"
  }

  static func table(_ plans: [TunedPlan]) -> [String] {
    ["  draft                         acc_length   rows/pass   tokens/s    plain   ratio"]
      + plans.map { plan in
        "  " + plan.plan.description.padding(toLength: 30, withPad: " ", startingAt: 0)
          + String(
            format: "%10.2f %11.1f %10.1f %8.1f %7.2f", plan.accLength, plan.targetRowsPerPass, plan.tokensPerSecond,
            plan.plainTokensPerSecond, plan.speedup)
      }
  }
}
