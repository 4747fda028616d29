import EagleCluster
import EagleCore
import EagleDecoding
import EagleModels
import EagleRunFiles
import EagleText
import Foundation

/// Measures acceptance length and speed by real speculative decoding of prompts, shared out to the ranks.
public final class Evaluator {
  private let model: ChatModel
  private let config: EvaluateConfig
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let stop: StopRequest
  private let benchmarks: [(name: String, prompts: [Prompt], shortest: Prompt?)]
  /// What results of `run(_:)` are measured with.
  public let conditions: EvaluationConditions
  /// A text of each benchmark from the last run, by name: that of its shortest prompt. All ranks have all.
  public private(set) var examples: [ExampleText] = []

  /// Reads the prompt files, so that a missing one is found before anything is trained. Collective.
  ///
  /// - Throws: when a file is missing or broken, ranks read different prompts, or one does not fit into the target
  public init(
    model: ChatModel, config: EvaluateConfig,
    cluster: any Communicator = SoloCommunicator(), progress: ProgressSink = SilentProgress(),
    stop: StopRequest = StopRequest()
  ) throws {
    self.model = model
    self.config = config
    self.cluster = cluster
    self.progress = progress
    self.stop = stop
    benchmarks = try config.benchmarks.sorted { $0.key < $1.key }.map { name, path in
      let prompts = Array(try PromptReader.read(path: path).prefix(config.limit))
      try Self.check(prompts, fitInto: model, config, path: path)
      try cluster.agree(on: EvaluationConditions.text(prompts), about: "the prompts of \(path)")
      return (name, prompts, prompts.min { $0.turns[0].utf8.count < $1.turns[0].utf8.count })
    }
    conditions = EvaluationConditions(config, benchmarks: benchmarks.map { ($0.name, $0.prompts) })
  }

  /// Answers may be as long as `max_new_tokens`, in every turn.
  private static func check(
    _ prompts: [Prompt], fitInto model: ChatModel, _ config: EvaluateConfig, path: String
  ) throws {
    let limit = model.target.shape.maxPositions
    for prompt in prompts {
      let system = prompt.system.map { [ChatMessage(role: .system, content: $0)] } ?? []
      let questions = try prompt.turns.enumerated().reduce(0) { sum, turn in
        let before = turn.offset == 0 ? system : []
        return sum + (try model.prompt(before + [ChatMessage(role: .user, content: turn.element)]).count)
      }
      // questions + turns * max_new_tokens <= limit, without a product that may overflow.
      let turns = prompt.turns.count
      guard questions > limit || config.maxNewTokens > (limit - questions) / max(1, turns) else { continue }
      throw LocatedError(
        path: path,
        problem: "the prompt \(prompt.id) has \(questions) tokens and \(turns) answers of up to "
          + "\(config.maxNewTokens), and the target has \(limit) positions",
        advice: "lower evaluate.max_new_tokens, or take the prompt out")
    }
  }

  /// Decodes every benchmark with the head and without it, shared among the ranks; all ranks get all results.
  public func run(_ draft: DraftModel) throws -> [String: BenchmarkResult] { try run(draft, journal: nil) }

  /// - Parameter journal: where prompts that are done are kept, and those of an earlier start found
  package func run(_ draft: DraftModel, journal: EvaluationJournal?) throws -> [String: BenchmarkResult] {
    try run(draft, plans: [.chain(config.draftLength)], journal: journal).mapValues { $0[0] }
  }

  /// Decodes every benchmark without the head and by each of several plans, interleaved prompt by prompt, so that a slow
  /// moment of the machine falls on all alike. The results of a benchmark are in the order of the plans.
  public func run(_ draft: DraftModel, plans: [DraftPlan]) throws -> [String: [BenchmarkResult]] {
    try run(draft, plans: plans, journal: nil)
  }

  /// A prompt that is done.
  private struct Finished: Codable {
    var benchmark: Int
    var prompt: Int
    /// Counts by plan.
    var counts: [BenchmarkCounts]
    var example: ExampleText?
  }

  private func run(
    _ draft: DraftModel, plans: [DraftPlan], journal: EvaluationJournal?
  ) throws -> [String: [BenchmarkResult]] {
    let sessions = (
      plain: DecodingSession(target: model.target),
      speculative: plans.map { _ in
        DecodingSession(target: model.target, draft: draft)
      }
    )
    let before = try finishedBefore(journal)
    let work = benchmarks.indices.flatMap { benchmark in
      benchmarks[benchmark].prompts.indices.map { (benchmark: benchmark, prompt: $0) }
    }.filter { item in !before.contains { $0.benchmark == item.benchmark && $0.prompt == item.prompt } }
    if !before.isEmpty { progress.say("evaluate: going on behind \(before.count) prompts that are done") }
    var finished = cluster.isRoot ? before : []
    // A rank takes the next prompt when it is done with one, so that a slow node delays nobody.
    let next = try cluster.tickets()
    while !stop.isMade {
      let ticket = try next()
      guard ticket < work.count else { break }
      let (benchmark, index) = work[ticket]
      let prompt = benchmarks[benchmark].prompts[index]
      // A prompt that a stop has broken off counts as not begun.
      guard let measured = try measure(prompt, plans, sessions) else { break }
      var done = Finished(benchmark: benchmark, prompt: index, counts: measured.counts)
      if let first = measured.first, prompt == benchmarks[benchmark].shortest {
        done.example = ExampleText(benchmark: benchmarks[benchmark].name, prompt: prompt.turns[0], first, model)
      }
      finished.append(done)
      try journal?.append(done, "prompts", rank: cluster.rank)
      progress.advance(
        "evaluate", done: ticket + 1, total: work.count, unit: "prompts", note: benchmarks[benchmark].name)
    }
    // A rank that is asked to stop leaves no ticket to the others, so that they stop behind the prompt at hand.
    if stop.isMade { while try next() < work.count {} }
    try stop.throwIfAnyRankStops(cluster, during: "evaluate")
    return results(of: try gathered(finished), plans)
  }

  /// The same on all ranks: what the ranks of an earlier start have left on any node's disk, each prompt once.
  /// Collective.
  private func finishedBefore(_ journal: EvaluationJournal?) throws -> [Finished] {
    guard let journal else { return [] }
    let own = cluster.isFirstOfNode ? journal.read("prompts", Finished.self) : []
    var found: [[Int]: Finished] = [:]
    for item in try gathered(own) { found[[item.benchmark, item.prompt]] = item }
    return found.values.sorted { ($0.benchmark, $0.prompt) < ($1.benchmark, $1.prompt) }
  }

  /// Those of all ranks. Collective.
  private func gathered(_ own: [Finished]) throws -> [Finished] {
    try cluster.gather(try JSONEncoder().encode(own)).flatMap { try JSONDecoder().decode([Finished].self, from: $0) }
  }

  /// Speeds of ranks that decode side by side are those of one sequence on one rank.
  private func results(of all: [Finished], _ plans: [DraftPlan]) -> [String: [BenchmarkResult]] {
    var counts = [[BenchmarkCounts]](
      repeating: .init(repeating: BenchmarkCounts(), count: plans.count), count: benchmarks.count)
    for item in all {
      for (plan, count) in item.counts.enumerated() { counts[item.benchmark][plan] += count }
    }
    examples = all.compactMap(\.example).sorted { $0.benchmark < $1.benchmark }
    return Dictionary(
      uniqueKeysWithValues: zip(benchmarks, counts).map { benchmark, counts in
        (benchmark.name, zip(plans, counts).map { BenchmarkResult($1, draftLength: $0.depth, plan: $0.description) })
      })
  }

  /// All decodings of every turn, one after the other; the next turn sees the plain answer. The first turn's text by
  /// the first plan is an example. nil when a stop was asked for on the way.
  private func measure(
    _ prompt: Prompt, _ plans: [DraftPlan], _ sessions: (plain: DecodingSession, speculative: [DecodingSession])
  ) throws -> (counts: [BenchmarkCounts], first: Generation?)? {
    var first: Generation?
    var counts = [BenchmarkCounts](repeating: BenchmarkCounts(), count: plans.count)
    sessions.plain.reset()
    var messages = prompt.system.map { [ChatMessage(role: .system, content: $0)] } ?? []
    for (number, turn) in prompt.turns.enumerated() {
      messages.append(ChatMessage(role: .user, content: turn))
      let ids = try model.prompt(messages)
      let plain = try generate(sessions.plain, ids, .chain(0))
      if stop.isMade { return nil }
      for (index, plan) in plans.enumerated() {
        if number == 0 { sessions.speculative[index].reset() }
        let speculative = try generate(sessions.speculative[index], ids, plan)
        if stop.isMade { return nil }
        first = first ?? speculative
        counts[index].prompts = 1
        counts[index].plain += plain.statistics
        counts[index].speculative += speculative.statistics
        if plain.ids != speculative.ids { counts[index].differing += 1 }
      }
      messages.append(ChatMessage(role: .assistant, content: model.text(plain.ids)))
    }
    for index in plans.indices {
      let (plain, speculative) = (counts[index].plain.tokensPerSecond, counts[index].speculative.tokensPerSecond)
      if plain > 0, speculative > 0 { counts[index].speedups = [speculative / plain] }
    }
    return (counts, first)
  }

  private func options(_ plan: DraftPlan) -> DecodingOptions {
    DecodingOptions(maxNewTokens: config.maxNewTokens, stopIDs: model.stopIDs, plan: plan)
  }

  /// Decodes until the text ends or a stop is asked for. Each token tells the other ranks that this one makes progress.
  private func generate(_ session: DecodingSession, _ ids: [Int32], _ plan: DraftPlan) throws -> Generation {
    func isWanted() -> Bool {
      cluster.tick()
      return !stop.isMade
    }
    return try session.generate(ids, options(plan), isWanted: isWanted) { _ in isWanted() ? .proceed : .stop(.cancelled)
    }
  }
}
