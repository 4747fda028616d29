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
  private let promptProducts: Products
  private let benchmarks: [(name: String, prompts: [Prompt])]

  /// Reads the prompt files, so that a missing one is found before anything is trained.
  public init(
    model: ChatModel, precision: Precision, config: EvaluateConfig,
    cluster: any Communicator = SoloCommunicator(), progress: ProgressSink = SilentProgress()
  ) throws {
    self.model = model
    self.config = config
    self.cluster = cluster
    self.progress = progress
    promptProducts = precision == .bf16 ? .bf16 : .fp32
    benchmarks = try config.benchmarks.sorted { $0.key < $1.key }.map { name, path in
      (name, Array(try PromptReader.read(path: path).prefix(config.limit)))
    }
  }

  /// Decodes every benchmark with the head and without it, shared among the ranks; all ranks get all results.
  public func run(_ draft: DraftModel) throws -> [String: BenchmarkResult] {
    let generators = (
      plain: Generator(target: model.target), speculative: Generator(target: model.target, draft: draft)
    )
    var results: [String: BenchmarkResult] = [:]
    let total = benchmarks.reduce(0) { $0 + $1.prompts.count }
    var done = 0
    for (name, prompts) in benchmarks {
      var counts = BenchmarkCounts()
      for (index, prompt) in prompts.enumerated() where index % cluster.size == cluster.rank {
        counts += try measure(prompt, generators)
        progress.advance("evaluate", done: done + index + 1, total: total, unit: "prompts", note: name)
      }
      done += prompts.count
      results[name] = BenchmarkResult(try added(counts), draftLength: config.draftLength)
    }
    return results
  }

  /// Both decodings of every turn, one after the other; the next turn sees the plain answer.
  private func measure(_ prompt: Prompt, _ generators: (plain: Generator, speculative: Generator)) throws
    -> BenchmarkCounts
  {
    var counts = BenchmarkCounts()
    counts.prompts = 1
    var messages: [ChatMessage] = []
    for turn in prompt.turns {
      messages.append(ChatMessage(role: .user, content: turn))
      let ids = try model.prompt(messages)
      let plain = try generators.plain.generate(ids, options)
      let speculative = try generators.speculative.generate(ids, options)
      counts.plain += plain.statistics
      counts.speculative += speculative.statistics
      if plain.ids != speculative.ids { counts.differing += 1 }
      messages.append(ChatMessage(role: .assistant, content: model.text(plain.ids)))
    }
    return counts
  }

  private var options: DecodingOptions {
    DecodingOptions(
      maxNewTokens: config.maxNewTokens, stopIDs: model.stopIDs, plan: .chain(config.draftLength),
      promptProducts: promptProducts)
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
