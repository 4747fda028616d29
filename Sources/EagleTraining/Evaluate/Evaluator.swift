import EagleCluster
import EagleDecoding
import EagleModels
import EagleTensor
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
  /// A text of each benchmark from the last run, by name: that of its shortest prompt. All ranks have all.
  public private(set) var examples: [ExampleText] = []

  /// Reads the prompt files, so that a missing one is found before anything is trained.
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
      return (name, prompts, prompts.min { $0.turns[0].utf8.count < $1.turns[0].utf8.count })
    }
  }

  /// Decodes every benchmark with the head and without it, shared among the ranks; all ranks get all results.
  public func run(_ draft: DraftModel) throws -> [String: BenchmarkResult] {
    try run(draft, plans: [.chain(config.draftLength)]).mapValues { $0[0] }
  }

  /// Decodes every benchmark without the head and by each of several plans, prompt by prompt in turn, so that a slow moment
  /// of the machine falls on all alike. The results of a benchmark are in the order of the plans.
  public func run(_ draft: DraftModel, plans: [DraftPlan]) throws -> [String: [BenchmarkResult]] {
    let sessions = (
      plain: DecodingSession(target: model.target),
      speculative: plans.map { _ in
        DecodingSession(target: model.target, draft: draft)
      }
    )
    let work = benchmarks.indices.flatMap { benchmark in benchmarks[benchmark].prompts.map { (benchmark, $0) } }
    examples = []
    var counts = [[BenchmarkCounts]](
      repeating: .init(repeating: BenchmarkCounts(), count: plans.count), count: benchmarks.count)
    // A rank takes the next prompt when it is done with one, so that a slow node delays nobody.
    let next = try cluster.tickets()
    while !stop.isMade {
      let ticket = try next()
      guard ticket < work.count else { break }
      let (benchmark, prompt) = work[ticket]
      let measured = try measure(prompt, plans, sessions)
      for (plan, count) in measured.counts.enumerated() { counts[benchmark][plan] += count }
      if let first = measured.first, prompt == benchmarks[benchmark].shortest {
        examples.append(ExampleText(benchmark: benchmarks[benchmark].name, prompt: prompt.turns[0], first, model))
      }
      progress.advance(
        "evaluate", done: ticket + 1, total: work.count, unit: "prompts", note: benchmarks[benchmark].name)
    }
    try stop.throwIfAnyRankStops(cluster, during: "evaluate")
    var results: [String: [BenchmarkResult]] = [:]
    for (benchmark, counts) in zip(benchmarks, counts) {
      results[benchmark.name] = try zip(plans, counts).map { BenchmarkResult(try added($1), plan: $0) }
    }
    examples = try cluster.gather(try JSONEncoder().encode(examples))
      .flatMap { try JSONDecoder().decode([ExampleText].self, from: $0) }.sorted { $0.benchmark < $1.benchmark }
    return results
  }

  /// All decodings of every turn, one after the other; the next turn sees the plain answer. The first turn's text by the
  /// first plan is an example.
  private func measure(
    _ prompt: Prompt, _ plans: [DraftPlan], _ sessions: (plain: DecodingSession, speculative: [DecodingSession])
  ) throws -> (counts: [BenchmarkCounts], first: Generation?) {
    var first: Generation?
    var counts = [BenchmarkCounts](repeating: BenchmarkCounts(), count: plans.count)
    sessions.plain.reset()
    var messages: [ChatMessage] = []
    for turn in prompt.turns {
      messages.append(ChatMessage(role: .user, content: turn))
      let ids = try model.prompt(messages)
      let plain = try sessions.plain.generate(ids, options(.chain(0)))
      for (index, plan) in plans.enumerated() {
        if messages.count == 1 { sessions.speculative[index].reset() }
        let speculative = try sessions.speculative[index].generate(ids, options(plan))
        first = first ?? speculative
        counts[index].prompts = 1
        counts[index].plain += plain.statistics
        counts[index].speculative += speculative.statistics
        if plain.ids != speculative.ids { counts[index].differing += 1 }
      }
      messages.append(ChatMessage(role: .assistant, content: model.text(plain.ids)))
    }
    return (counts, first)
  }

  private func options(_ plan: DraftPlan) -> DecodingOptions {
    DecodingOptions(maxNewTokens: config.maxNewTokens, stopIDs: model.stopIDs, plan: plan)
  }

  /// Speeds of ranks that decode side by side are those of one sequence on one rank.
  private func added(_ counts: BenchmarkCounts) throws -> BenchmarkCounts {
    var sum = BenchmarkCounts()
    for data in try cluster.gather(try JSONEncoder().encode(counts)) {
      sum += try JSONDecoder().decode(BenchmarkCounts.self, from: data)
    }
    return sum
  }
}
