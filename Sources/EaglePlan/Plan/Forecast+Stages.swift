import EagleCore
import EagleData
import EagleModels
import EagleRecipe
import EagleTraining
import Foundation

// H hidden · M MLP · F = 4H features of a fitted start.

// The stages of the run, with the seconds of each in every column.
extension Forecast {
  /// All stages, in the order of the run.
  func stages(_ columns: [Column]) -> [RunPlan.Stage] {
    var stages = generationStages(columns)
    stages.append(prepareStage(columns))
    if recipe.capture.mode == .store { stages.append(captureStage(columns)) }
    if recipe.draft.start == .fitted, recipe.draft.initFrom == nil, let stage = fittedStage(columns) {
      stages.append(stage)
    }
    stages.append(trainingStage(columns))
    stages.append(evaluationStage(columns))
    return stages
  }

  /// The seconds of work that ranks do independently.
  ///
  /// - Parameter seconds: the seconds for this many ranks that are as fast as the ranks of this start
  private func each(_ columns: [Column], _ seconds: (_ workers: Int) -> Double) -> [Double] {
    columns.map { seconds($0.workers) / $0.speed }
  }

  /// The operations of the target over all conversations.
  var captureOperations: Double {
    sample.conversations.reduce(0) { $0 + $1.count * NeededOperations.capture(sizes.target, lengths: [$1.ids.count]) }
  }

  private func captureStage(_ columns: [Column]) -> RunPlan.Stage {
    let operations = captureOperations
    let all = operations / figures.capture.operationsPerSecond
    let shard = all * Double(recipe.capture.shardTokens) / sample.tokens
    return .init(
      name: "capture",
      work: String(format: "%.0f tokens, %.0f tokens/s a rank", sample.tokens, figures.capture.tokensPerSecond),
      operations: operations, seconds: each(columns) { RunPlan.makespan(total: all, job: shard, workers: $0) })
  }

  private func trainingStage(_ columns: [Column]) -> RunPlan.Stage {
    let steps = stepsPerEpoch * recipe.train.epochs
    return .init(
      name: "training",
      work:
        "\(Format.count(steps, "step")) of \(Int(batchTokens)) tokens, \(Format.count(recipe.train.epochs, "epoch"))",
      operations: epochOperations * Double(recipe.train.epochs),
      seconds: columns.map { step(nodes: $0.nodes).seconds * Double(steps) })
  }

  private func prepareStage(_ columns: [Column]) -> RunPlan.Stage {
    let factor = sample.bytesRead > 0 ? sample.bytes / sample.bytesRead : 0
    // Preparation uses the threads of a whole node.
    let seconds = sample.seconds * factor / Double(context.ranksOnNode)
    return .init(
      name: "prepare", work: Format.bytes(sample.bytes) + " of conversations", operations: 0,
      seconds: columns.map { _ in seconds })
  }

  /// The stage of a fitted start, in which only rank 0 solves.
  private func fittedStage(_ columns: [Column]) -> RunPlan.Stage? {
    sizes.draft.fittedStart(trainedTokens: sample.trainedTokens).map { rows, operations in
      .init(
        name: "fitted start", work: String(format: "%.0f rows, rank 0 alone", rows), operations: operations,
        seconds: columns.map { _ in operations / (0.8 * figures.peak) })
    }
  }

  private func evaluationStage(_ columns: [Column]) -> RunPlan.Stage {
    let times = recipe.train.epochs + 1
    let prompts = data.evaluation.turns.count
    let held = heldOutSeconds(columns, times: times)
    let decoded = decodingSeconds(columns)
    let turns = Double(data.evaluation.turns.reduce(0, +))
    let rows = turns * (figures.decoding?.newTokens ?? 0) * Double(times)
    let row = NeededOperations.capture(sizes.target, lengths: [1])
    return .init(
      name: "evaluation", work: "\(times) times \(prompts) prompts", operations: 2 * rows * row,
      seconds: zip(held, decoded).map { $0 + $1 })
  }

  /// The seconds of the held-out conversations in all evaluations.
  private func heldOutSeconds(_ columns: [Column], times: Int) -> [Double] {
    let tokens = sample.tokens * recipe.data.heldOut
    return columns.map { column in
      tokens * figures.training.heldOutSecondsPerToken * Double(times) / Double(column.nodes ?? context.nodes)
        * Double(context.nodes)
    }
  }

  /// The seconds of the benchmarks in all evaluations: one before training, and one after each epoch.
  private func decodingSeconds(_ columns: [Column]) -> [Double] {
    let prompts = data.evaluation.turns.count
    let turns = Double(data.evaluation.turns.reduce(0, +)) / Double(max(1, prompts))
    let isRandom = recipe.draft.start == .random && recipe.draft.initFrom == nil
    let accLengths =
      [isRandom ? 1 : Self.expectedAccLength]
      + [Double](repeating: Self.expectedAccLength, count: recipe.train.epochs)
    func prompt(_ accLength: Double) -> Double {
      guard let decoding = figures.decoding else { return 0 }
      return turns * (decoding.fixedSeconds + max(0, decoding.newTokens - 1) / accLength * decoding.roundSeconds)
    }
    return each(columns) { workers in
      accLengths.reduce(0) {
        $0 + RunPlan.makespan(total: Double(prompts), job: 1, workers: workers) * prompt($1)
      }
    }
  }

  private func generationStages(_ columns: [Column]) -> [RunPlan.Stage] {
    guard !figures.generation.isEmpty else { return [] }
    func stage(
      _ name: String, _ work: GenerationWork, batch: Int, output: String, _ server: AnswerServerConfig
    ) -> RunPlan.Stage {
      let isThere = FileManager.default.fileExists(atPath: output)
      let generation = figures.generation[batch]!
      // The time of a server is unknown.
      let answers = isThere || server.isUsed ? 0 : work.answers
      let tokens = answers * (work.newTokens + generatedPromptTokens)
      let size = String(format: "%.0f answers of %.0f tokens at most", work.answers, work.newTokens)
      return .init(
        name: name, work: isThere ? "is there" : server.isUsed ? "\(size), by a server, whose time is left out" : size,
        operations: tokens * NeededOperations.capture(sizes.target, lengths: [1]),
        seconds: each(columns) { workers in
          let answersOfRank = answers / Double(workers)
          let rounds = answersOfRank > 0 ? max(1, answersOfRank / Double(batch)) : 0
          return rounds * work.newTokens * generation.passSeconds
            + answersOfRank * generatedPromptTokens * generation.promptSecondsPerToken
        })
    }
    let (regenerate, synthesize) = (recipe.regenerate, recipe.synthesize)
    var stages: [RunPlan.Stage] = []
    if let work = data.regeneration {
      stages.append(stage("regenerate", work, batch: regenerate.batch, output: regenerate.output, regenerate.server))
    }
    if synthesize.conversations > 0 {
      let work = GenerationWork(synthesize)
      stages.append(stage("synthesize", work, batch: synthesize.batch, output: synthesize.output, synthesize.server))
    }
    return stages
  }
}
