import EagleCluster
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleText

/// Measures acceptance length and speed by real speculative decoding of prompts, which the ranks partition.
package final class Evaluator {
  private let renderer: PromptRenderer
  private let config: EvaluateConfig
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let stop: StopRequest
  private let sets: [EvaluationSet]
  /// The conditions under which `run(_:)` measures.
  package let conditions: EvaluationConditions
  /// An example answer of each benchmark from the last run, sorted by name: the answer to its shortest prompt. Equal on
  /// all ranks.
  package private(set) var examples: [ExampleText] = []

  /// Reads the prompt files, so that a missing file is detected before training starts. Collective.
  ///
  /// - Throws: when a file is missing or malformed, when ranks read different prompts, or when a prompt does not fit
  ///   into the target's context
  package init(
    model: ChatModel, config: EvaluateConfig,
    cluster: any Communicator = SoloCommunicator(), progress: ProgressSink = SilentProgress(),
    stop: StopRequest = StopRequest()
  ) throws {
    renderer = try PromptRenderer(model, config.reasoning)
    self.config = config
    self.cluster = cluster
    self.progress = progress
    self.stop = stop
    sets = try config.sets(model)
    for set in sets { try cluster.agree(on: set.text, about: "the prompts of \(set.path)") }
    conditions = EvaluationConditions(config, sets)
  }

  /// Decodes every benchmark with the head and without it. The ranks partition the prompts; all get all results.
  ///
  /// - Parameters:
  ///   - journal: the finished prompts of this start and of earlier ones
  ///   - choosesBest: whether the prompts that select the best head are decoded too
  package func run(
    _ draft: DraftModel, journal: EvaluationJournal? = nil, choosesBest: Bool = true
  ) throws -> EvaluationResults {
    let wanted = sets.indices.filter { choosesBest || sets[$0].role != .validation }
    return try run(draft, plans: [.chain(config.draftLength)], wanted: wanted, journal: journal)[0]
  }

  /// Decodes every benchmark without the head and by each of several plans, interleaved prompt by prompt, so that a
  /// slow phase of the machine affects all equally. The results of a benchmark are in the order of the plans.
  package func run(_ draft: DraftModel, plans: [DraftPlan]) throws -> [String: [BenchmarkResult]] {
    let results = try run(draft, plans: plans, wanted: Array(sets.indices), journal: nil).map(\.benchmarks)
    let names = sets.map(\.benchmark)
    return Dictionary(names.map { name in (name, results.compactMap { $0[name] }) }) { first, _ in first }
  }

  /// The measurements of a finished prompt.
  private struct Finished: Codable {
    /// The set and the prompt, by index.
    var set: Int
    var prompt: Int
    /// The counts of each plan.
    var counts: [BenchmarkCounts]
    var example: ExampleText?
  }

  /// The results of each plan.
  private func run(
    _ draft: DraftModel, plans: [DraftPlan], wanted: [Int], journal: EvaluationJournal?
  ) throws -> [EvaluationResults] {
    let before = try finishedBefore(journal).filter { wanted.contains($0.set) }
    if !before.isEmpty { progress.say("evaluate: resuming after \(Format.count(before.count, "finished prompt"))") }
    var finished = cluster.isRoot ? before : []
    let measurement = PromptMeasurement(renderer, config, draft, plans: plans, stop: stop, tick: cluster.tick)
    let work = unfinished(wanted, before)
    // Each rank takes the next prompt when it has finished one, so that a slow node delays no other rank.
    let next = try cluster.tickets()
    while !stop.isMade {
      let ticket = try next()
      // A prompt that a stop has interrupted counts as not begun.
      guard ticket < work.count, let done = try measure(work[ticket], measurement) else { break }
      finished.append(done)
      try journal?.append(done, "prompts", rank: cluster.rank)
      progress.advance(
        "evaluate", done: ticket + 1, total: work.count, unit: "prompts", note: sets[done.set].benchmark)
    }
    // A rank that is asked to stop takes all remaining tickets, so that the other ranks stop after their current
    // prompt.
    if stop.isMade { while try next() < work.count {} }
    try stop.throwIfAnyRankStops(cluster, during: "evaluate")
    let all = try cluster.allGather(value: finished).flatMap(\.self)
    return results(of: all.sorted { ($0.set, $0.prompt) < ($1.set, $1.prompt) }, wanted, plans)
  }

  /// The set and the prompt, by index, of each prompt that is not among the finished ones.
  private func unfinished(_ wanted: [Int], _ finished: [Finished]) -> [(set: Int, prompt: Int)] {
    let done = Set(finished.map { [$0.set, $0.prompt] })
    return wanted.flatMap { set in sets[set].prompts.indices.map { (set: set, prompt: $0) } }
      .filter { !done.contains([$0.set, $0.prompt]) }
  }

  /// Measures one prompt; nil if a stop has interrupted it.
  private func measure(_ item: (set: Int, prompt: Int), _ measurement: PromptMeasurement) throws -> Finished? {
    let set = sets[item.set]
    let prompt = set.prompts[item.prompt]
    let name = "\(set.benchmark), \(set.role), prompt \(item.prompt)"
    guard let measured = try measurement.measure(prompt, name: name) else { return nil }
    var done = Finished(set: item.set, prompt: item.prompt, counts: measured.counts)
    if let example = measured.example, prompt == set.example {
      done.example = ExampleText(benchmark: set.benchmark, prompt: prompt.turns[0], example, renderer.model)
    }
    return done
  }

  /// The prompts that earlier starts have finished, without duplicates, from the disks of all nodes. Equal on all
  /// ranks. Collective.
  private func finishedBefore(_ journal: EvaluationJournal?) throws -> [Finished] {
    guard let journal else { return [] }
    let local = cluster.isFirstOfNode ? journal.read("prompts", Finished.self) : []
    var found: [[Int]: Finished] = [:]
    for item in try cluster.allGather(value: local).joined() { found[[item.set, item.prompt]] = item }
    return found.values.sorted { ($0.set, $0.prompt) < ($1.set, $1.prompt) }
  }

  /// The results of each plan, from all prompts in order. The speeds are those of one sequence on one rank, even if
  /// several ranks decode concurrently.
  private func results(of all: [Finished], _ wanted: [Int], _ plans: [DraftPlan]) -> [EvaluationResults] {
    examples = all.compactMap(\.example).sorted { $0.benchmark < $1.benchmark }
    return plans.indices.map { plan in
      var results = EvaluationResults()
      for set in wanted {
        var counts = BenchmarkCounts()
        for item in all where item.set == set { counts += item.counts[plan] }
        results.add(result(counts, of: sets[set], plans[plan]), of: sets[set])
      }
      return results
    }
  }

  private func result(_ counts: BenchmarkCounts, of set: EvaluationSet, _ plan: DraftPlan) -> BenchmarkResult {
    var result = BenchmarkResult(counts, draftLength: plan.depth, plan: plan.description)
    result.promptsDigest = set.digest
    result.temperature = config.temperature > 0 ? config.temperature : nil
    return result.withIntervals()
  }
}
