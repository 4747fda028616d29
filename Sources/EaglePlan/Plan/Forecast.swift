import EagleCore
import EagleRecipe
import EagleRunFiles
import EagleTensor
import EagleTraining
import Foundation

// H hidden · M MLP · F = 4H features of a fitted start · N nodes.

/// Puts what was counted and what was measured together.
struct Forecast {
  let planner: Planner
  let sample: DataSample
  let evaluation: EvaluationWork
  let regeneration: GenerationWork?
  let capture: PlanMeasurement.Capture
  let training: PlanMeasurement.Training
  let decoding: PlanMeasurement.Decoding?
  let generation: PlanMeasurement.Generation?
  let generatedPromptTokens: Double
  /// Operations a second of a rank's large products.
  let peak: Double
  var measuringSeconds = 0.0

  private var recipe: Recipe { planner.recipe }
  private var sizes: Sizes { planner.sizes }
  private var ranks: Int { planner.cluster.size }
  private var nodesHere: Int { Set(planner.cluster.nodes).count }
  private var ranksPerNode: Int { planner.elsewhere.ranksPerNode ?? planner.cluster.ranksOnNode }

  // MARK: the whole

  func plan() -> RunPlan {
    let disk = sizes.disk(
      tokens: sample.tokens, conversations: sample.conversationCount, capture: recipe.capture,
      keep: recipe.train.keepCheckpoints)
    let columns = [nil] + planner.elsewhere.nodes.map { Optional($0) }
    let here = needsOfRank(ranks: ranks)
    let free = Disk.free(at: recipe.output)
    var plan = RunPlan(
      run: recipe.run,
      measured: "\(ranks) rank\(ranks == 1 ? "" : "s") x \(Parallel.threadCount) threads, "
        + Matmul.describe(recipe.train.precision.products),
      measuringSeconds: measuringSeconds,
      corpus: RunPlan.Corpus(
        conversations: sample.conversationCount, tokens: sample.tokens,
        trainedShare: sample.trainedTokens / max(1, sample.tokens),
        readShare: sample.isWhole ? 1 : sample.bytesRead / max(1, sample.bytes), stepsPerEpoch: stepsPerEpoch),
      disk: disk, freeDisk: free, memory: [Need("target, mapped", sizes.targetBytes)] + here,
      totalMemory: Double(SystemMemory.total), nodes: columns.map { nodes($0, disk) }, stages: stages(columns),
      suppositions: suppositions, problems: [])
    for column in plan.nodes.indices {
      let node = plan.nodes[column]
      let advice = RunPlan.Advice(
        capture: recipe.capture, train: recipe.train, ranksPerNode: node.ranksPerNode,
        ranks: node.nodes * node.ranksPerNode, nodes: node.nodes)
      let found = RunPlan.problems(
        memory: node.memory, of: plan.totalMemory, disk: node.disk, free: free, config: advice)
      let place = plan.nodes.count > 2 && column > 0 ? "\(node.nodes) x \(node.ranksPerNode): " : ""
      for problem in found where !plan.problems.contains(problem) { plan.problems.append(place + problem) }
    }
    return plan
  }

  private func nodes(_ count: Int?, _ disk: [Need]) -> RunPlan.Nodes {
    let perNode = count == nil ? planner.cluster.ranksOnNode : ranksPerNode
    let number = count ?? nodesHere
    let step = self.step(count)
    let own = needsOfRank(ranks: number * perNode).reduce(0) { $0 + $1.bytes }
    let parts = disk.map { need in
      need.name == "capture store" && recipe.capture.store == .node ? need.bytes / Double(number) : need.bytes
    }
    return RunPlan.Nodes(
      nodes: number, ranksPerNode: perNode, stepSeconds: step.seconds, exposed: step.exposed,
      efficiency: step.efficiency, memory: sizes.targetBytes + Double(perNode) * own, disk: parts.reduce(0, +),
      batchForNinety: model.batch(nodes: number, efficiency: 0.9))
  }

  /// Of a rank that trains, evaluates and, before that, generates.
  private func needsOfRank(ranks: Int) -> [Need] {
    let work = ObjectiveMemory(sizes.draft, recipe.train).largest(sample.microBatches(recipe.train, ranks: ranks))
    var needs = sizes.training(recipe.train, work: work, ranks: ranks)
    if let longest = evaluation.ids.map(\.count).max() {
      let tokens = Double(longest + recipe.evaluate.maxNewTokens)
      needs.append(Need("key and value caches of an evaluation", sizes.evaluationCaches(tokens: tokens)))
    }
    if generation != nil {
      let batch = recipe.regenerate.input.isEmpty ? recipe.synthesize.batch : recipe.regenerate.batch
      let tokens = Double(batch) * (generatedPromptTokens + Double(generatedTokens))
      needs.append(
        Need("caches of \(batch) answers, before training", sizes.cache(tokens: tokens, layers: sizes.target.layers)))
    }
    return needs
  }

  private var generatedTokens: Int {
    recipe.regenerate.input.isEmpty ? recipe.synthesize.maxNewTokens : recipe.regenerate.maxNewTokens
  }

  // MARK: training

  private var stepsPerEpoch: Int {
    sample.steps(tokensPerBatch: recipe.train.tokensPerBatch, heldOut: recipe.data.heldOut)
  }

  /// Tokens of a mean batch.
  private var batchTokens: Double {
    sample.epochTokens(heldOut: recipe.data.heldOut) / Double(stepsPerEpoch)
  }

  /// Needed operations of an epoch.
  private var epochOperations: Double {
    (1 - recipe.data.heldOut)
      * sample.conversations.reduce(0) {
        $0 + $1.trained
          * NeededOperations.training(sizes.draft, masks: [$1.mask], depths: recipe.train.tttLength)
      }
  }

  /// Costs of one node.
  private var costs: StepModel.Costs {
    let epoch = max(1, sample.epochTokens(heldOut: recipe.data.heldOut))
    // The measured conversations need other operations for a token than the mean one.
    let scale = epochOperations / epoch / max(1, training.operations / training.tokens)
    func perToken(_ phases: [Phase]) -> Double {
      phases.reduce(0) { $0 + (training.phases[$1.rawValue] ?? 0) } / training.tokens * scale * Double(nodesHere)
    }
    let computing: [Phase] = [.teacher, .reading, .draftForward, .headAndLoss, .backward]
    let counted = computing.reduce(0) { $0 + (training.phases[$1.rawValue] ?? 0) }
    let online = recipe.capture.mode == .online ? captureOperations / sample.tokens / capture.operationsPerSecond : 0
    return StepModel.Costs(
      teacher: perToken([.teacher, .reading]) + online / Double(ranks) * Double(nodesHere),
      forward: perToken([.draftForward]), head: perToken([.headAndLoss]), backward: perToken([.backward]),
      optimiser: max(0, training.seconds - counted))
  }

  private var model: StepModel {
    StepModel(
      costs: costs, link: planner.elsewhere.link, parameters: sizes.parameters, headParameters: sizes.headParameters,
      wireBytes: recipe.cluster.gradients == .fp32 ? 4 : 2, imbalance: planner.elsewhere.imbalance)
  }

  /// - Parameter nodes: nil for this start as it is, whose own communication was measured with the rest
  private func step(_ nodes: Int?) -> StepModel.Step {
    var model = model
    guard nodes == nil else { return model.step(nodes: nodes!, batch: Int(batchTokens)) }
    model.costs.teacher /= Double(nodesHere)
    model.costs.forward /= Double(nodesHere)
    model.costs.head /= Double(nodesHere)
    model.costs.backward /= Double(nodesHere)
    return model.step(nodes: 1, batch: Int(batchTokens))
  }

  // MARK: stages

  private var captureOperations: Double {
    sample.conversations.reduce(0) { $0 + $1.count * NeededOperations.capture(sizes.target, lengths: [$1.ids.count]) }
  }

  private func stages(_ columns: [Int?]) -> [RunPlan.Stage] {
    let workers = columns.map { $0.map { $0 * ranksPerNode } ?? ranks }
    // A node's ranks together are as fast as the ranks of this node are.
    let speed = columns.map { $0 == nil ? 1 : Double(planner.cluster.ranksOnNode) / Double(ranksPerNode) }
    func each(_ seconds: (Int, Int) -> Double) -> [Double] {
      columns.indices.map { seconds($0, workers[$0]) / speed[$0] }
    }
    var stages = generationStages(each)
    stages.append(prepareStage(columns))
    if recipe.capture.mode == .store {
      let operations = captureOperations
      let all = operations / capture.operationsPerSecond
      let shard = all * Double(recipe.capture.shardTokens) / sample.tokens
      stages.append(
        .init(
          name: "capture",
          work: String(format: "%.0f tokens, %.0f tokens/s a rank", sample.tokens, capture.tokensPerSecond),
          operations: operations, seconds: each { RunPlan.makespan(total: all, job: shard, workers: $1) }))
    }
    if recipe.draft.start == .fitted, recipe.draft.initFrom == nil { stages.append(fittedStage(columns)) }
    let steps = stepsPerEpoch * recipe.train.epochs
    stages.append(
      .init(
        name: "training", work: "\(steps) steps of \(Int(batchTokens)) tokens, \(recipe.train.epochs) epochs",
        operations: epochOperations * Double(recipe.train.epochs),
        seconds: columns.map { step($0).seconds * Double(steps) }))
    stages.append(evaluationStage(columns, each))
    return stages
  }

  private func prepareStage(_ columns: [Int?]) -> RunPlan.Stage {
    let share = sample.bytesRead > 0 ? sample.bytes / sample.bytesRead : 0
    // Preparation has the threads of a whole node.
    let seconds = sample.seconds * share / Double(planner.cluster.ranksOnNode)
    return .init(
      name: "prepare", work: RunPlan.bytes(sample.bytes) + " of conversations", operations: 0,
      seconds: columns.map { _ in seconds })
  }

  /// Least squares over the features, twice: of the states, and of the MLP's random gates. Rank 0 solves.
  private func fittedStage(_ columns: [Int?]) -> RunPlan.Stage {
    let (h, m) = (Double(sizes.draft.hiddenSize), Double(sizes.draft.intermediateSize))
    let rows = min(Double(FittedStart.mostRows), sample.trainedTokens)
    let features = 4 * h
    let products = 2 * rows * (features * features + 2 * features * h + 2 * h * m + m * m + m * h)
    let solving = (features * features * features + m * m * m) / 3 + 2 * h * (features * features + m * m)
    return .init(
      name: "fitted start", work: String(format: "%.0f rows, rank 0 alone", rows), operations: products + solving,
      seconds: columns.map { _ in (products + solving) / (0.8 * peak) })
  }

  private func evaluationStage(_ columns: [Int?], _ each: ((Int, Int) -> Double) -> [Double]) -> RunPlan.Stage {
    let times = recipe.train.epochs + 1
    let heldTokens = sample.tokens * recipe.data.heldOut
    let turns = Double(evaluation.turns.reduce(0, +)) / Double(max(1, evaluation.turns.count))
    let startsEmpty = recipe.draft.start == .random && recipe.draft.initFrom == nil
    func prompt(_ accLength: Double) -> Double {
      guard let decoding else { return 0 }
      return turns * (decoding.plainSeconds + max(0, decoding.newTokens - 1) / accLength * decoding.roundSeconds)
    }
    let decodings =
      [startsEmpty ? 1 : Planner.supposedAccLength]
      + [Double](repeating: Planner.supposedAccLength, count: recipe.train.epochs)
    let held = columns.map { column in
      heldTokens * training.heldOutSecondsPerToken * Double(times) / Double(column ?? nodesHere) * Double(nodesHere)
    }
    let decoded = each { _, workers in
      decodings.reduce(0) {
        $0 + RunPlan.makespan(total: Double(evaluation.turns.count), job: 1, workers: workers) * prompt($1)
      }
    }
    let rows = Double(evaluation.turns.reduce(0, +)) * (decoding?.newTokens ?? 0) * Double(times)
    let row = NeededOperations.capture(sizes.target, lengths: [1])
    return .init(
      name: "evaluation", work: "\(times) times \(evaluation.turns.count) prompts", operations: 2 * rows * row,
      seconds: zip(held, decoded).map { $0 + $1 })
  }

  private func generationStages(_ each: ((Int, Int) -> Double) -> [Double]) -> [RunPlan.Stage] {
    guard let generation else { return [] }
    func stage(_ name: String, _ work: GenerationWork, _ batch: Int, _ output: String) -> RunPlan.Stage {
      let isThere = FileManager.default.fileExists(atPath: output)
      let answers = isThere ? 0 : work.answers
      let tokens = answers * (work.newTokens + generatedPromptTokens)
      return .init(
        name: name,
        work: isThere ? "is there" : String(format: "%.0f answers of %.0f tokens at most", answers, work.newTokens),
        operations: tokens * NeededOperations.capture(sizes.target, lengths: [1]),
        seconds: each { _, workers in
          let mine = answers / Double(workers)
          let rounds = mine > 0 ? max(1, mine / Double(batch)) : 0
          return rounds * work.newTokens * generation.passSeconds
            + mine * generatedPromptTokens * generation.promptSecondsPerToken
        })
    }
    var stages: [RunPlan.Stage] = []
    if let regeneration {
      stages.append(stage("regenerate", regeneration, recipe.regenerate.batch, recipe.regenerate.output))
    }
    if recipe.synthesize.conversations > 0 {
      stages.append(
        stage("synthesize", GenerationWork(recipe.synthesize), recipe.synthesize.batch, recipe.synthesize.output))
    }
    return stages
  }

  private var suppositions: [String] {
    var lines: [String] = []
    if decoding != nil {
      lines.append("an acc_length of \(Planner.supposedAccLength) in evaluations of a head that has learnt something")
    }
    if planner.elsewhere.nodes.contains(where: { $0 > 1 }) {
      lines.append(
        String(
          format: "a link of %.1f MB/s and %.0f µs between nodes, each as fast as this one",
          planner.elsewhere.link.bandwidth / 1e6, planner.elsewhere.link.latency * 1e6))
    }
    if generation != nil { lines.append("answers as long as they may be") }
    return lines
  }
}
