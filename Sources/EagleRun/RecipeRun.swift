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

/// Progress that is passed on, and that shows the other ranks that this one is alive.
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

/// The stages of a recipe, in order. Each is skipped when its output is up to date, and says what it did.
///
/// From `Examples/TrainHead`, which writes the recipe in code:
/// ```swift
/// try recipe.validate()
/// try RecipeRun(recipe, cluster: SoloCommunicator(), progress: Lines()).train(resume: true)
/// ```
/// A recipe in a file is read by `Recipe.load(path:overrides:)`, and `MPICommunicator.start()` of EagleMPI joins the
/// ranks of `mpirun`.
public final class RecipeRun {
  /// Every setting, with paths on this machine where the recipe has names.
  public let recipe: Recipe
  /// The same with the names of a target and a head as they were given.
  let named: Recipe
  package let folder: RunFolder
  /// The ranks of the run.
  public let cluster: any Communicator
  /// The text side of the target.
  let format: ChatFormat
  /// The target with its weights; nil until a stage needs them.
  private var loaded: ChatModel?
  private let apiKey: String?
  let progress: ProgressSink
  let stop: StopRequest
  private let lock: FolderLock?

  /// Loads the target on every rank, and begins to watch the ranks. Where a server writes the conversations of the
  /// recipe, the target's weights are loaded by the first stage that needs them.
  ///
  /// `stop` is looked at between small tasks; what is finished by then stays.
  ///
  /// - Parameters:
  ///   - recipe: every setting
  ///   - located: the same with places on this machine for what the recipe names; the recipe itself when nil
  ///   - cluster: the ranks
  ///   - progress: what people see
  ///   - stop: the request to end early
  ///   - apiKey: what a server that writes conversations gets as the bearer token
  /// - Throws: when ranks disagree about the recipe, the target cannot be loaded, or another process works on the
  ///   output
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
    // Before the ranks are watched: making communicators, a rank sends no signs of life.
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

  /// The model, the ranks with their threads, and the kind of matrix products, as one line for people.
  public var description: String {
    let shape = format.shape
    let threads = "\(Format.count(cluster.size, "rank")) x \(Format.count(Parallel.threadCount, "thread"))"
    return "\(recipe.run): \(shape.family.rawValue), \(shape.layers) layers of \(shape.hiddenSize); \(threads); "
      + Matmul.describe(recipe.train.precision)
  }

  /// Shows a line between those of the stages.
  public func say(_ line: String) { progress.say(line) }

  /// Lets the target answer the questions of `regenerate.input`, on all ranks. Those that a server failed to answer are
  /// tried again.
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

  /// Lets the target write synthetic conversations, on all ranks.
  public func synthesize() throws {
    guard recipe.synthesize.conversations > 0 else {
      throw RecipeError(at: "synthesize.conversations", "is 0: say how many conversations to make")
    }
    try Synthesis(
      format, writer: writer(recipe.synthesize.server), config: recipe.synthesize, cluster: cluster,
      progress: progress, stop: stop
    ).run()
  }

  /// Turns conversations into ids and loss masks, after those that the recipe generates. Rank 0 works, the others wait
  /// for the result.
  @discardableResult
  public func prepare() throws -> PreparedData {
    _ = try model  // Before rank 0 uses it alone.
    try checkSizes()
    warnOfUnusedOutputs()
    // More answers would be other data, which a run that has begun to train refuses.
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
      } catch is StoppedRun {}  // for all ranks to hear of, below
    }
    try stop.throwIfAnyRankStops(cluster, during: "prepare")
    if recipe.capture.store == .node { try shareWithNodes(folder.prepared) }
    try requireSight(of: folder.prepared)
    let data = try PreparedData(folder: folder.prepared)
    try cluster.agree(on: data.fingerprint, about: "the prepared data")
    return data
  }

  /// Says which generated files `data.train` does not name: nothing of them is trained on.
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

  /// Threads that the ranks of this node have together, as far as there are cores for them. Collective.
  private func threadsOfNode() throws -> Int {
    let counts = try cluster.gather(Data("\(Parallel.threadCount)".utf8)).map {
      Int(String(decoding: $0, as: UTF8.self))!
    }
    let sum = counts.indices.reduce(0) { $0 + (cluster.nodes[$1] == cluster.nodes[cluster.rank] ? counts[$1] : 0) }
    return max(Parallel.threadCount, min(sum, CoreSet.ofThisProcess.count))
  }

  /// Copies a folder of rank 0 to the nodes that have none, or another one.
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

  /// Throws when a rank does not see a folder that rank 0 has written, though the recipe says that ranks share a disk.
  private func requireSight(of path: String) throws {
    let sees = FileManager.default.fileExists(atPath: path)
    let all = try cluster.gather(Data([sees ? 1 : 0]))
    guard let blind = all.firstIndex(where: { $0.first == 0 }) else { return }
    throw LocatedError(
      path: path, problem: "rank \(blind) does not see what rank 0 has written",
      advice: "put the output on a disk that all nodes share, or set capture.store to node")
  }

  /// Makes or completes the capture store of the prepared data, on all ranks.
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

  /// Writes a draft head where servers and `eagle-run` find it.
  func export(_ draft: DraftModel) throws {
    if cluster.isRoot { try writeHead(draft) }
    try cluster.barrier()
  }

  /// A file that somebody has put into the folder since the start does not end the run: the head is in its checkpoint.
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
