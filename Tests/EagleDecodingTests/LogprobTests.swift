import EagleDecoding
import EagleDraft
import EagleModels
import Foundation
import Testing

@Suite struct LogprobTests {
  private static let plans: [DraftPlan] = [.chain(3), DraftPlan(depth: 3, width: 3, nodes: 8)]

  private func logprobs(
    _ session: DecodingSession, _ prompt: [Int32], _ options: DecodingOptions
  ) throws -> (ids: [Int32], logprobs: [TokenLogprobs]) {
    var all: [TokenLogprobs] = []
    let generation = try session.generate(
      prompt, options, isWanted: { true },
      onToken: { token in
        if let logprobs = token.logprobs { all.append(logprobs) }
        return .proceed
      })
    return (generation.ids, all)
  }

  /// Log-softmax in double precision, of the whole sequence at once.
  private func reference(_ target: TargetModel, _ text: [Int32], from first: Int) -> [[Double]] {
    let states = target.decode(text, segments: [Segment(rows: 0..<text.count)], captureLayers: [])
    let logits = target.logits(states.lastHidden)
    return (first - 1..<text.count - 1).map { row in
      let z = (0..<logits.columns).map { Double(logits.floats[row * logits.columns + $0]) }
      let sum = log(z.map { exp($0 - z.max()!) }.reduce(0, +)) + z.max()!
      return z.map { $0 - sum }
    }
  }

  @Test("logprobs are those of the model's own logits, whatever samples and drafts", arguments: [false, true])
  func values(isGreedy: Bool) throws {
    let target = Drafts.target(seed: 31)
    let head = Drafts.random(for: target, size: 200, seed: 32)
    var options = DecodingOptions(maxNewTokens: 30, stopIDs: [], isPrefillInvariant: true)
    options.sampling.logprobs = 3
    (options.sampling.presencePenalty, options.sampling.logitBias) = (0.5, [7: 3])
    if !isGreedy { (options.sampling.temperature, options.sampling.topP, options.sampling.seed) = (0.7, 0.9, 5) }
    for plan in [.chain(0)] + Self.plans {
      options.plan = plan
      let prompt: [Int32] = [5, 6, 7]
      let (ids, found) = try logprobs(DecodingSession(target: target, draft: head), prompt, options)
      #expect(found.map(\.chosen.token) == ids)
      for (logprobs, expected) in zip(found, reference(target, prompt + ids, from: prompt.count)) {
        let best = expected.indices.sorted { expected[$0] > expected[$1] }.prefix(3)
        #expect(logprobs.top.map { Int($0.token) } == Array(best))
        for entry in logprobs.top + [logprobs.chosen] {
          #expect(abs(Double(entry.logprob) - expected[Int(entry.token)]) < 1e-4)
        }
      }
    }
  }

  @Test("texts in one pass report the logprobs that each has alone, and nobody is told who does not ask")
  func batches() throws {
    let target = Drafts.target(seed: 33)
    var options = DecodingOptions(maxNewTokens: 12, stopIDs: [])
    #expect(try logprobs(DecodingSession(target: target), [1, 2], options).logprobs.isEmpty)
    options.sampling.logprobs = 2
    let alone = try logprobs(DecodingSession(target: target), [1, 2], options)
    let (asking, other) = (DecodingSession(target: target), DecodingSession(target: target))
    try asking.begin([1, 2], options)
    options.sampling.logprobs = nil
    try other.begin([9], options)
    var together: [TokenLogprobs] = []
    func take() {
      asking.takeTokens { token in
        together.append(token.logprobs!)
        return .proceed
      }
      other.takeTokens { token in
        #expect(token.logprobs == nil)
        return .proceed
      }
    }
    DecodingSession.prefill([asking, other])
    take()
    while asking.isBusy {
      DecodingSession.decode([asking, other])
      take()
    }
    #expect(together == alone.logprobs)
  }

  @Test("logits that are not finite are an error, greedy and sampled, with and without a draft")
  func nonFiniteLogits() throws {
    let target = Drafts.target(seed: 34)
    let head = Drafts.random(for: target, size: 200, seed: 35)
    for value in [Float.nan, .infinity, -.infinity] {
      for (plan, temperature) in [(.chain(0), 0), (.chain(3), 0), (.chain(3), 1), (Self.plans[1], 1)]
        as [(DraftPlan, Float)]
      {
        for badPass in [1, 4] {
          let session = DecodingSession(target: target, draft: plan.depth == 0 ? nil : head)
          nonisolated(unsafe) var rows = 0
          session.onLogits = { row in
            rows += 1
            if rows == badPass { row[300] = value }
          }
          var options = DecodingOptions(maxNewTokens: 20, stopIDs: [], plan: plan)
          options.sampling.temperature = temperature
          let error = #expect(throws: GenerationError.self) { try session.generate([1, 2, 3], options) }
          #expect(error?.description.contains("not finite") == true)
          // The session still works.
          session.onLogits = nil
          let again = try session.generate([1, 2, 3], options).ids
          #expect(
            try DecodingSession(target: target, draft: plan.depth == 0 ? nil : head).generate([1, 2, 3], options).ids
              == again)
        }
      }
    }
  }
}
