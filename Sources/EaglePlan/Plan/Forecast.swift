import EagleCore
import EagleRecipe
import EagleTensor
import EagleTraining
import Foundation

/// Measured speeds of the ranks of this start.
struct PlanFigures {
  let capture: PlanMeasurement.Capture
  let training: PlanMeasurement.Training
  /// nil without benchmarks.
  let decoding: PlanMeasurement.Decoding?
  /// By batch size; empty if the run generates nothing.
  let generation: [Int: PlanMeasurement.Generation]
  /// The forecast of the speedup of decoding, on rank 0.
  let gain: GainForecast?
  /// The operations per second of a rank's large GEMMs.
  let peak: Double
}

/// The prediction of a run from counts and measurements.
///
/// The first column of a plan is this start; the others are one for each other number of nodes.
struct Forecast {
  let context: PlanContext
  let data: PlanData
  let figures: PlanFigures
  let measuringSeconds: Double

  /// The acceptance length that is assumed for evaluations during training.
  static let expectedAccLength = 1.5

  var recipe: Recipe { context.recipe }
  var sizes: Sizes { context.sizes }
  var sample: DataSample { data.sample }

  /// A planned number of nodes.
  struct Column {
    /// nil for this start.
    let nodes: Int?
    /// The number of ranks on all nodes.
    let workers: Int
    /// The speed of a rank relative to one of this start, if the ranks of a node together are as fast as the ranks of
    /// this node.
    let speed: Double
  }

  private var columns: [Column] {
    let here = Column(nodes: nil, workers: context.ranks, speed: 1)
    return [here]
      + context.others.nodes.map { nodes in
        Column(
          nodes: nodes, workers: nodes * context.ranksPerNode,
          speed: Double(context.ranksOnNode) / Double(context.ranksPerNode))
      }
  }

  /// The whole plan.
  func plan() -> RunPlan {
    let disk = sizes.disk(
      tokens: sample.tokens, conversations: sample.conversationCount, capture: recipe.capture,
      keep: recipe.train.keepCheckpoints)
    let columns = columns
    let here = needsOfRank(ranks: context.ranks)
    let free = Disk.free(at: recipe.output)
    var plan = RunPlan(
      run: recipe.run,
      measured: "\(Format.count(context.ranks, "rank")) x \(Format.count(Parallel.threadCount, "thread")), "
        + Matmul.describe(recipe.train.precision),
      measuringSeconds: measuringSeconds,
      corpus: RunPlan.Corpus(
        conversations: sample.conversationCount, tokens: sample.tokens,
        trainedShare: sample.trainedTokens / max(1, sample.tokens),
        readShare: sample.isWhole ? 1 : sample.bytesRead / max(1, sample.bytes), stepsPerEpoch: stepsPerEpoch),
      disk: disk, freeDisk: free, memory: [Need("target, mapped", sizes.targetBytes)] + here,
      totalMemory: Double(SystemMemory.total), nodes: columns.map { nodes($0, disk: disk) }, stages: stages(columns),
      suppositions: assumptions, problems: [])
    addProblems(to: &plan, freeDisk: free)
    return plan
  }

  /// Adds the problems of memory and disk, with advice.
  private func addProblems(to plan: inout RunPlan, freeDisk: Double) {
    for (column, node) in plan.nodes.enumerated() {
      let advice = RunPlan.Advice(
        capture: recipe.capture, train: recipe.train, ranksPerNode: node.ranksPerNode,
        ranks: node.nodes * node.ranksPerNode, nodes: node.nodes)
      let found = RunPlan.problems(
        memory: node.memory, of: plan.totalMemory, disk: node.disk, free: freeDisk, config: advice)
      let cluster = plan.nodes.count > 2 && column > 0 ? "\(node.nodes) x \(node.ranksPerNode): " : ""
      for problem in found where !plan.problems.contains(problem) { plan.problems.append(cluster + problem) }
    }
  }

  /// The figures of a column.
  private func nodes(_ column: Column, disk: [Need]) -> RunPlan.Nodes {
    let perNode = column.nodes == nil ? context.ranksOnNode : context.ranksPerNode
    let number = column.nodes ?? context.nodes
    let step = self.step(nodes: column.nodes)
    // The measured step of several nodes includes their waiting, which cannot be separated from it.
    let isMeasuredWhole = column.nodes == nil && context.nodes > 1
    let rank = needsOfRank(ranks: number * perNode).reduce(0) { $0 + $1.bytes }
    let parts = disk.map { need in
      need.name == "capture store" && recipe.capture.store == .node ? need.bytes / Double(number) : need.bytes
    }
    return RunPlan.Nodes(
      nodes: number, ranksPerNode: perNode, stepSeconds: step.seconds,
      exposed: isMeasuredWhole ? nil : step.exposed, efficiency: isMeasuredWhole ? nil : step.efficiency,
      memory: sizes.targetBytes + Double(perNode) * rank, disk: parts.reduce(0, +),
      batchForNinety: stepModel(ranksPerNode: perNode).batch(nodes: number, efficiency: 0.9))
  }

  /// The memory of a rank that trains, evaluates and, before that, generates.
  private func needsOfRank(ranks: Int) -> [Need] {
    let costs = sizes.draft.costs(recipe.train.objective)
    let work = costs.largest(sample.microBatches(recipe.train, costs: costs, ranks: ranks))
    var needs = sizes.training(recipe.train, work: work, ranks: ranks, mode: recipe.capture.mode)
    if let longest = data.evaluation.ids.map(\.count).max() {
      let tokens = Double(longest + recipe.evaluate.maxNewTokens)
      needs.append(Need("key and value caches of an evaluation", sizes.evaluationCaches(tokens: tokens)))
    }
    let caches = recipe.generations.map { stage in
      Need(
        "caches of \(stage.batch) answers, before training",
        Double(stage.batch) * sizes.cache(tokens: generatedPromptTokens + Double(stage.tokens)))
    }
    if !figures.generation.isEmpty, let most = caches.max(by: { $0.bytes < $1.bytes }) { needs.append(most) }
    return needs
  }

  /// The mean number of tokens of the prompts of generation.
  var generatedPromptTokens: Double { Double(data.generatedPromptTokens ?? 0) }

  /// The assumptions of the plan, one sentence each.
  private var assumptions: [String] {
    var lines: [String] = []
    if figures.decoding != nil {
      lines.append("an acc_length of \(Self.expectedAccLength) in evaluations of a head that has learnt something")
    }
    if context.others.nodes.contains(where: { $0 > 1 }) {
      let link = context.others.link
      lines.append(
        String(
          format: "a link of %.1f MB/s and %.0f µs between nodes, each as fast as this one", link.bandwidth / 1e6,
          link.latency * 1e6))
    }
    if !figures.generation.isEmpty { lines.append("answers as long as they may be") }
    return lines
  }
}
