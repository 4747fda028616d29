import EagleCluster
import EagleCore
import EagleDecoding
import EagleModels
import EagleRunFiles
import EagleText
import Foundation

/// Measures acceptance length and speed by real speculative decoding of prompts, which the ranks partition.
package final class Evaluator {
  private let model: ChatModel
  private let config: EvaluateConfig
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let stop: StopRequest
  private let benchmarks: [(name: String, prompts: [Prompt], shortest: Prompt?)]
  /// The conditions under which `run(_:)` measures.
  package let conditions: EvaluationConditions
  /// A text of each benchmark from the last run, by name: that of its shortest prompt. Equal on all ranks.
  package private(set) var examples: [ExampleText] = []

  /// Reads the prompt files, so that a missing one is found before anything is trained. Collective.
  ///
  /// - Throws: when a file is missing or broken, ranks read different prompts, or one does not fit into the target
  package init(
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

  /// Throws for a dialogue that may not fit into the target: an answer may be as long as `max_new_tokens`, in every turn.
  private static func check(
    _ prompts: [Prompt], fitInto model: ChatModel, _ config: EvaluateConfig, path: String
  ) throws {
    let limit = model.target.shape.maxPositions
    for prompt in prompts {
      let system = prompt.system.map { [ChatMessage(role: .system, content: $0)] } ?? []
      let promptTokens = try prompt.turns.enumerated().reduce(0) { sum, turn in
        let before = turn.offset == 0 ? system : []
        return sum + (try model.prompt(before + [ChatMessage(role: .user, content: turn.element)]).count)
      }
      // promptTokens + turns * max_new_tokens <= limit, without a product that may overflow.
      let turns = prompt.turns.count
      guard promptTokens > limit || config.maxNewTokens > (limit - promptTokens) / max(1, turns) else { continue }
      throw LocatedError(
        path: path,
        problem: "the prompt \(prompt.id) has \(promptTokens) tokens and \(turns) answers of up to "
          + "\(config.maxNewTokens), and the target has \(limit) positions",
        advice: "lower evaluate.max_new_tokens, or take the prompt out")
    }
  }

  /// Decodes every benchmark with the head and without it. The ranks partition the prompts; all get all results.
  package func run(_ draft: DraftModel) throws -> [String: BenchmarkResult] { try run(draft, journal: nil) }

  /// - Parameter journal: the finished prompts of this start and of earlier ones
  package func run(_ draft: DraftModel, journal: EvaluationJournal?) throws -> [String: BenchmarkResult] {
    try run(draft, plans: [.chain(config.draftLength)], journal: journal).mapValues { $0[0] }
  }

  /// Decodes every benchmark without the head and by each of several plans, interleaved prompt by prompt, so that a
  /// slow moment of the machine falls on all alike. The results of a benchmark are in the order of the plans.
  package func run(_ draft: DraftModel, plans: [DraftPlan]) throws -> [String: [BenchmarkResult]] {
    try run(draft, plans: plans, journal: nil)
  }

  /// The measurements of a finished prompt.
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
    let before = try finishedBefore(journal)
    if !before.isEmpty { progress.say("evaluate: going on behind \(before.count) prompts that are done") }
    var finished = cluster.isRoot ? before : []
    let measurement = PromptMeasurement(
      model, draft, plans: plans, maxNewTokens: config.maxNewTokens, stop: stop, tick: cluster.tick)
    let work = unfinished(before)
    // A rank takes the next prompt when it is done with one, so that a slow node delays nobody.
    let next = try cluster.tickets()
    while !stop.isMade {
      let ticket = try next()
      // A prompt that a stop has broken off counts as not begun.
      guard ticket < work.count, let done = try measure(work[ticket], measurement) else { break }
      finished.append(done)
      try journal?.append(done, "prompts", rank: cluster.rank)
      progress.advance(
        "evaluate", done: ticket + 1, total: work.count, unit: "prompts", note: benchmarks[done.benchmark].name)
    }
    // A rank that is asked to stop leaves no ticket to the others, so that they stop behind the prompt at hand.
    if stop.isMade { while try next() < work.count {} }
    try stop.throwIfAnyRankStops(cluster, during: "evaluate")
    return results(of: try cluster.gather(value: finished).flatMap(\.self), plans)
  }

  /// The benchmark and the prompt, by index, of each prompt that is not among the finished ones.
  private func unfinished(_ finished: [Finished]) -> [(benchmark: Int, prompt: Int)] {
    let done = Set(finished.map { [$0.benchmark, $0.prompt] })
    return benchmarks.indices.flatMap { benchmark in
      benchmarks[benchmark].prompts.indices.map { (benchmark: benchmark, prompt: $0) }
    }.filter { !done.contains([$0.benchmark, $0.prompt]) }
  }

  /// Measures one prompt; nil when a stop has broken it off.
  private func measure(_ item: (benchmark: Int, prompt: Int), _ measurement: PromptMeasurement) throws -> Finished? {
    let benchmark = benchmarks[item.benchmark]
    let prompt = benchmark.prompts[item.prompt]
    guard let measured = try measurement.measure(prompt) else { return nil }
    var done = Finished(benchmark: item.benchmark, prompt: item.prompt, counts: measured.counts)
    if let example = measured.example, prompt == benchmark.shortest {
      done.example = ExampleText(benchmark: benchmark.name, prompt: prompt.turns[0], example, model)
    }
    return done
  }

  /// The prompts that an earlier start has finished, each once, from the disks of all nodes. Equal on all ranks.
  /// Collective.
  private func finishedBefore(_ journal: EvaluationJournal?) throws -> [Finished] {
    guard let journal else { return [] }
    let local = cluster.isFirstOfNode ? journal.read("prompts", Finished.self) : []
    var found: [[Int]: Finished] = [:]
    for item in try cluster.gather(value: local).joined() { found[[item.benchmark, item.prompt]] = item }
    return found.values.sorted { ($0.benchmark, $0.prompt) < ($1.benchmark, $1.prompt) }
  }

  /// The results by benchmark. Speeds of ranks that decode side by side are those of one sequence on one rank.
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
}
