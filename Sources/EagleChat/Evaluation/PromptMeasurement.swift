import EagleCluster
import EagleDecoding
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleText

/// Decodes prompts without a head and by each of several plans, one after the other, so that a slow phase of the
/// machine affects all equally.
final class PromptMeasurement {
  /// The measurements of one prompt.
  struct Result {
    /// The counts of each plan.
    fileprivate(set) var counts: [BenchmarkCounts]
    /// The first turn's answer by the first plan.
    fileprivate(set) var example: Generation?
  }

  private let model: ChatModel
  private let renderer: PromptRenderer
  private let config: EvaluateConfig
  private let plans: [DraftPlan]
  private let plain: DecodingSession
  private let speculative: [DecodingSession]
  /// Interrupts a prompt.
  private let stop: StopRequest
  /// Called for each token.
  private let tick: () -> Void

  init(
    _ renderer: PromptRenderer, _ config: EvaluateConfig, _ draft: DraftModel, plans: [DraftPlan], stop: StopRequest,
    tick: @escaping () -> Void
  ) {
    let model = renderer.model
    self.model = model
    (self.renderer, self.config, self.plans) = (renderer, config, plans)
    (self.stop, self.tick) = (stop, tick)
    plain = DecodingSession(target: model.target)
    speculative = plans.map { _ in DecodingSession(target: model.target, draft: draft) }
  }

  /// Decodes every turn by all plans; the next turn sees the answer of plain decoding. Nil if the prompt was
  /// interrupted.
  ///
  /// - Parameter name: a unique name of the prompt, from which its sampling seed follows
  func measure(_ prompt: Prompt, name: String) throws -> Result? {
    for session in [plain] + speculative { session.reset() }
    var result = Result(counts: [BenchmarkCounts](repeating: BenchmarkCounts(), count: plans.count))
    var messages = prompt.system.map { [ChatMessage(role: .system, content: $0)] } ?? []
    for (number, turn) in prompt.turns.enumerated() {
      messages.append(ChatMessage(role: .user, content: turn))
      let sampling = config.sampling.options(for: "\(name), turn \(number)")
      guard let text = try measureTurn(try renderer.ids(messages), sampling, into: &result) else { return nil }
      messages.append(ChatMessage(role: .assistant, content: text))
    }
    for index in plans.indices { result.counts[index].notePrompt() }
    return result
  }

  /// Decodes one turn and returns the answer of plain decoding; nil if it was interrupted.
  private func measureTurn(
    _ ids: [Int32], _ sampling: SamplingOptions, into result: inout Result
  ) throws -> String? {
    guard let plainText = try generate(plain, ids, sampling, .chain(0)) else { return nil }
    for (index, plan) in plans.enumerated() {
      guard let generation = try generate(speculative[index], ids, sampling, plan) else { return nil }
      result.example = result.example ?? generation
      result.counts[index].add(generation, plain: plainText, isCompared: sampling.isGreedy)
    }
    return model.text(plainText.ids)
  }

  private func generate(
    _ session: DecodingSession, _ ids: [Int32], _ sampling: SamplingOptions, _ plan: DraftPlan
  ) throws -> Generation? {
    let options = DecodingOptions(
      maxNewTokens: config.maxNewTokens, stopIDs: model.stopIDs, plan: plan, sampling: sampling)
    func isWanted() -> Bool {
      tick()
      return !stop.isMade
    }
    let generation = try session.generate(ids, options, isWanted: isWanted) { _ in
      isWanted() ? .proceed : .stop(.cancelled)
    }
    return stop.isMade ? nil : generation
  }
}

extension BenchmarkCounts {
  /// Adds one turn of a prompt.
  fileprivate mutating func add(_ generation: Generation, plain other: Generation, isCompared: Bool) {
    prompts = 1
    plain += other.statistics
    speculative += generation.statistics
    if isCompared, other.ids != generation.ids { differing += 1 }
  }

  /// Records the counts of the prompt's turns, and their speedup over plain decoding.
  fileprivate mutating func notePrompt() {
    byPrompt.append(speculative, plain: plain)
    let (plain, speculative) = (plain.tokensPerSecond, speculative.tokensPerSecond)
    if plain > 0, speculative > 0 { speedups = [speculative / plain] }
  }
}
