import EagleCaptureStore
import EagleChat
import EagleCluster
import EagleCore
import EagleData
import EagleDraft
import EagleModels
import EagleRecipe
import EagleRunFiles
import EagleTensor
import EagleTraining
import Foundation

/// Forwards progress, and shows the other ranks that this one is alive.
private final class TickingProgress: ProgressSink {
  private let inner: ProgressSink
  private let cluster: any Communicator

  init(_ inner: ProgressSink, cluster: any Communicator) { (self.inner, self.cluster) = (inner, cluster) }

  func advance(_ stage: String, done: Int, total: Int, unit: String, note: String) {
    cluster.tick()
    inner.advance(stage, done: done, total: total, unit: unit, note: note)
  }

  func finish(_ stage: String, _ summary: String) { inner.finish(stage, summary) }
  func say(_ line: String) { inner.say(line) }
}

/// The stages of a recipe, in order. Each is skipped if its output is up to date, and reports its result.
///
/// From `Examples/TrainHead`, which writes the recipe in code:
/// ```swift
/// try recipe.validate()
/// try RecipeRun(recipe, cluster: SoloCommunicator(), progress: Lines()).train(resume: true)
/// ```
/// A recipe in a file is read by `Recipe.load(path:overrides:)`, and `MPICommunicator.start()` of EagleMPI joins the
/// ranks of `mpirun`.
public final class RecipeRun {
  /// Every setting, with names of models replaced by paths on this machine.
  public let recipe: Recipe
  /// The same with the original names of the target and the head.
  let named: Recipe
  package let folder: RunFolder
  /// The ranks of the run.
  public let cluster: any Communicator
  /// The tokenizer and the chat template of the target.
  let format: ChatFormat
  /// The target with its weights; nil until a stage needs them.
  private var loaded: ChatModel?
  private let apiKey: String?
  let progress: ProgressSink
  let stop: StopRequest
  private let lock: FolderLock?

  /// Loads the target on every rank, and starts to monitor the ranks. If a server generates the conversations of the
  /// recipe, the target's weights are loaded by the first stage that needs them.
  ///
  /// `stop` is checked between small tasks; finished parts are kept.
  ///
  /// - Parameters:
  ///   - recipe: every setting
  ///   - located: the same with local paths instead of names of models; nil for the recipe itself
  ///   - cluster: the ranks
  ///   - progress: the output of progress
  ///   - stop: the request to end early
  ///   - apiKey: the bearer token for a server that generates conversations
  /// - Throws: when ranks have different recipes, the target cannot be loaded, or another process has locked the output
  public init(
    _ recipe: Recipe, located: Recipe? = nil, cluster: any Communicator, progress: ProgressSink,
    stop: StopRequest = StopRequest(),
    apiKey: String? = nil
  ) throws {
    named = recipe
    self.recipe = located ?? recipe
    self.apiKey = apiKey
    self.cluster = cluster
    self.progress = TickingProgress(progress, cluster: cluster)
    self.stop = stop
    folder = RunFolder(recipe.output)
    try cluster.agree(on: try recipe.canonicalText, about: "the recipe")
    lock = try cluster.isRoot ? FolderLock(recipe.output) : nil
    // Before the ranks are monitored, because a rank sends no heartbeat while it creates communicators.
    let earlier = RunFolder(recipe.output).averaging
    if let line = try recipe.cluster.averaging.apply(
      to: cluster, wire: recipe.cluster.gradients, earlier: earlier)
    {
      self.progress.say(line)
    }
    try cluster.watch(recipe.cluster.limits)
    let (data, target) = (self.recipe.data, self.recipe.target)
    let isServed = recipe.regenerate.server.isUsed || recipe.synthesize.server.isUsed
    let source = try ModelSource(path: target.path)
    loaded =
      isServed
      ? nil
      : try ChatModel(
        source, template: data.chatTemplate, options: data.chatTemplateOptions,
        precision: target.precision, context: target.context)
    format =
      try loaded?.format
      ?? ChatFormat(
        source, shape: TargetShape(source, context: target.context),
        template: data.chatTemplate, options: data.chatTemplateOptions)
    if let loaded { try cluster.agree(on: loaded.target.fingerprint, about: "the target model") }
    try cluster.agree(on: try source.textDigests(), about: "the target's tokenizer and configuration")
  }

  /// The target with its weights. Collective at its first use, which loads them.
  var model: ChatModel {
    get throws {
      if let loaded { return loaded }
      let model = try ChatModel(format, precision: recipe.target.precision)
      try cluster.agree(on: model.target.fingerprint, about: "the target model")
      loaded = model
      return model
    }
  }

  /// The author of conversations.
  private func writer(_ server: AnswerServerConfig) throws -> TextWriter {
    server.isUsed ? .server(AnswerServer(server, key: apiKey)) : .target(try model.target)
  }

  /// The model, the ranks with their threads, and the GEMM implementation, as one readable line.
  public var description: String {
    let shape = format.shape
    let threads = "\(Format.count(cluster.size, "rank")) x \(Format.count(Parallel.threadCount, "thread"))"
    return "\(recipe.run): \(shape.family.rawValue), \(shape.layers) layers of \(shape.hiddenSize); \(threads); "
      + Matmul.describe(recipe.train.precision)
  }

  /// Shows a line between those of the stages.
  public func say(_ line: String) { progress.say(line) }

  /// Regenerates the answers to `regenerate.input` on all ranks. Prompts that a server failed to answer are retried.
  public func regenerate() throws { try regenerate(retriesFailed: true) }

  private func regenerate(retriesFailed: Bool) throws {
    guard !recipe.regenerate.input.isEmpty else {
      throw RecipeError(at: "regenerate.input", "is empty: name files of prompts or conversations to answer")
    }
    try Regeneration(
      format, writer: writer(recipe.regenerate.server), config: recipe.regenerate, maxLength: recipe.data.maxLength,
      cluster: cluster, progress: progress, stop: stop
    ).run(retriesFailed: retriesFailed)
  }

  /// Generates synthetic conversations on all ranks.
  public func synthesize() throws {
    guard recipe.synthesize.conversations > 0 else {
      throw RecipeError(at: "synthesize.conversations", "is 0: say how many conversations to make")
    }
    try Synthesis(
      format, writer: writer(recipe.synthesize.server), config: recipe.synthesize, cluster: cluster,
      progress: progress, stop: stop
    ).run()
  }

  /// Converts conversations to token ids and loss masks, after the generation of those that the recipe generates. Rank
  /// 0 does the work; the other ranks wait for the result.
  @discardableResult
  public func prepare() throws -> PreparedData {
    _ = try model  // Collective, and therefore before rank 0 uses it alone.
    try checkSizes()
    warnOfUnreadKeys()
    warnOfUnusedOutputs()
    // Failed prompts are not retried: more answers would change the data, which a run with checkpoints rejects.
    if !recipe.regenerate.input.isEmpty { try regenerate(retriesFailed: false) }
    if recipe.synthesize.conversations > 0 { try synthesize() }
    let threads = Parallel.threadCount
    defer { Parallel.threadCount = threads }
    let idle = try threadsOfNode()
    if cluster.isRoot {
      Parallel.threadCount = idle
      let preparation = Preparation(
        data: recipe.data, draft: recipe.draft, seed: recipe.train.seed, model: try model, progress: progress,
        stop: stop)
      do {
        _ = try preparation.run(folder: folder.prepared, check: refuseOtherData)
      } catch is StoppedRun {}  // reported to all ranks below
    }
    try stop.throwIfAnyRankStops(cluster, during: "prepare")
    if recipe.capture.store == .node { try shareWithNodes(folder.prepared) }
    try requireSight(of: folder.prepared)
    let data = try PreparedData(folder: folder.prepared)
    try cluster.agree(on: data.fingerprint, about: "the prepared data")
    return data
  }

  /// Warns of settings that have no effect on a head of this architecture.
  private func warnOfUnreadKeys() {
    guard !recipe.unreadKeys.isEmpty else { return }
    progress.say(
      "warning: \(recipe.unreadKeys.joined(separator: ", ")) has no effect on a head of the architecture "
        + recipe.draft.architecture.rawValue)
  }

  /// Warns of generated files that `data.train` does not name and that are therefore not trained.
  private func warnOfUnusedOutputs() {
    func absolute(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
    var outputs: [(key: String, path: String)] = []
    if !recipe.regenerate.input.isEmpty { outputs.append(("regenerate.output", recipe.regenerate.output)) }
    if recipe.synthesize.conversations > 0 { outputs.append(("synthesize.output", recipe.synthesize.output)) }
    let trained = Set(recipe.data.train.map { absolute($0.path) })
    for output in outputs where !trained.contains(absolute(output.path)) {
      progress.say("warning: data.train does not name \(output.key), \(output.path): nothing of it is trained on")
    }
  }

  /// The total number of threads of the ranks of this node, limited by its cores. Collective.
  private func threadsOfNode() throws -> Int {
    let counts = try cluster.allGather(Data("\(Parallel.threadCount)".utf8)).map {
      Int(String(decoding: $0, as: UTF8.self))!
    }
    let sum = counts.indices.reduce(0) { $0 + (cluster.nodes[$1] == cluster.nodes[cluster.rank] ? counts[$1] : 0) }
    return max(Parallel.threadCount, min(sum, CoreSet.ofThisProcess.count))
  }

  /// Copies a folder of rank 0 to the nodes on which it is missing or different.
  private func shareWithNodes(_ path: String) throws {
    let digest = try cluster.broadcast(
      data: cluster.isRoot ? Data(try FolderCopy.digest(of: path, each: cluster.tick).utf8) : Data())
    let isMissing =
      cluster.isFirstOfNode
      && (try? FolderCopy.digest(of: path, each: cluster.tick)) != String(decoding: digest, as: UTF8.self)
    if isMissing { try PreparedData.requireReplaceable(path) }
    guard try cluster.anyTrue(isMissing) else { return }
    try FolderCopy.broadcast(path, receives: isMissing, cluster: cluster)
  }

  /// Throws if a rank does not see a folder that rank 0 has written.
  private func requireSight(of path: String) throws {
    let sees = FileManager.default.fileExists(atPath: path)
    let all = try cluster.allGather(Data([sees ? 1 : 0]))
    guard let blind = all.firstIndex(where: { $0.first == 0 }) else { return }
    throw LocatedError(
      path: path, problem: "rank \(blind) does not see what rank 0 has written",
      advice: "put the output on a disk that all nodes share, or set capture.store to node")
  }

  /// Creates or completes the capture store of the prepared data, on all ranks.
  @discardableResult
  public func capture(_ data: PreparedData) throws -> CaptureStore {
    guard recipe.capture.mode == .store else {
      throw RecipeError(at: "capture.mode", "is online: training runs the target itself, and there is no store to make")
    }
    try checkDisk(data)
    return try CapturePass(
      target: model.target, data: data, config: captureConfig, cluster: cluster,
      progress: progress, stop: stop
    ).run(folder: folder.capture)
  }

  /// Writes a draft head to the export folder, where servers and `eagle-run` find it.
  func export(_ draft: DraftModel) throws {
    if cluster.isRoot { try writeHead(draft) }
    try cluster.barrier()
  }

  /// Writes the head. A foreign file in the folder does not end the run, because the head is also in its checkpoint.
  func writeHead(_ draft: DraftModel) throws {
    do {
      try DraftFolder.requireReplaceable(folder.export)
    } catch {
      return progress.say(
        "warning: the best head is not exported: \(error); `eagle-train export` makes it of its checkpoint")
    }
    try DraftFolder.write(
      draft, target: format.shape, verifier: named.target.path, tables: try draft.tables(of: model.target),
      to: folder.export)
  }

  func makeEvaluator() throws -> Evaluator {
    try Evaluator(
      model: model, config: recipe.evaluate, cluster: cluster, progress: progress,
      stop: stop)
  }
}
