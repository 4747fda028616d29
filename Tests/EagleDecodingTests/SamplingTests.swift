import EagleDecoding
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleTensor
import Foundation
import Testing

/// Sampled sequences have the target's distribution, for any proposals.
@Suite struct SamplingTests {
  private static let chain = DraftPlan.chain(3)
  private static let tree = DraftPlan(depth: 3, width: 3, nodes: 8)

  private static var filters: [SamplingOptions] {
    var (plain, filtered) = (SamplingOptions(), SamplingOptions())
    plain.temperature = 1
    (filtered.temperature, filtered.topK, filtered.topP, filtered.minP) = (1.3, 30, 0.95, 0.02)
    filtered.repetitionPenalty = 1.3
    var penalized = plain
    (penalized.presencePenalty, penalized.frequencyPenalty) = (1, 0.7)
    penalized.logitBias = [3: 2, 17: 1.5, 40: -100]
    return [plain, filtered, penalized]
  }

  /// The distribution of the second and third new token over all ways to get there, from the target's logits alone.
  private func exact(_ target: TargetModel, _ prompt: [Int32], _ sampling: SamplingOptions) throws -> [[Double]] {
    let size = target.shape.vocabularySize
    func next(_ text: [Int32]) throws -> [Double] {
      let states = target.decode(text, segments: [Segment(rows: 0..<text.count)], captureLayers: [])
      let logits = target.logits(states.lastHidden.slice(text.count - 1..<text.count))
      let row = UnsafeMutableBufferPointer(start: logits.floats, count: size)
      var sampler = Sampler(sampling, prompt: prompt)
      for token in text.dropFirst(prompt.count) { sampler.append(token) }
      try sampler.makeDistribution(row, path: [])
      return row.map(Double.init)
    }
    var marginals = [[Double](repeating: 0, count: size), [Double](repeating: 0, count: size)]
    for (a, p) in try next(prompt).enumerated() where p > 0 {
      let second = try next(prompt + [Int32(a)])
      for (b, q) in second.enumerated() where q > 0 {
        marginals[0][b] += p * q
        guard p * q > 1e-6 else { continue }
        for (c, r) in try next(prompt + [Int32(a), Int32(b)]).enumerated() { marginals[1][c] += p * q * r }
      }
    }
    return marginals
  }

  /// With one random number per position, the second round would sample the same token as the first one. A token that
  /// has already been rejected would then bias the distribution.
  @Test("a position that is drafted again behind a rejected draft is drawn with another number")
  func proposalsOfRounds() throws {
    let vocabulary = DraftVocabulary(targetIDs: (0..<Int32(64)).map { $0 }, targetSize: 64)
    var same = 0
    for seed in 0..<200 {
      var options = SamplingOptions()
      (options.temperature, options.seed) = (1, UInt64(seed))
      func drafts(at position: Int, levels: Int) throws -> [Int32] {
        var growth = DraftGrowth(
          root: 0, plan: .chain(levels), budget: nil, sampler: Sampler(options, prompt: []), position: position)
        for level in 0..<levels {
          if level > 0 { _ = growth.expandFrontier() }
          try growth.add(children: .zeros([1, 64]), vocabulary: vocabulary)
        }
        return Array(growth.proposal().tokens.dropFirst())
      }
      same += try drafts(at: 10, levels: 2)[1] == drafts(at: 11, levels: 1)[0] ? 1 : 0
      #expect(try drafts(at: 10, levels: 2) == drafts(at: 10, levels: 2))
    }
    // One in 64 of them are equal by chance.
    #expect(same < 15, "\(same) of 200")
  }

  /// Chi-squared over the 64 tokens of a small model.
  @Test("speculative sampling has the target's distribution", arguments: [chain, tree], [0, 1, 2])
  func speculativeSamplingHasTheTargetsDistribution(
    plan: DraftPlan, filter: Int
  )
    throws
  {
    let (target, ids, _) = try Fixture.load("tiny-qwen3")
    let sampling = Self.filters[filter]
    let prompt = Array(ids.prefix(4))
    let session = DecodingSession(target: target, draft: Drafts.random(for: target, size: 40, seed: 3, deviation: 0.1))
    var counts = [[Int](repeating: 0, count: 64), [Int](repeating: 0, count: 64)]
    var statistics = DecodingStatistics()
    for seed in 0..<3000 as Range<UInt64> {
      var options = DecodingOptions(
        maxNewTokens: 5, stopIDs: [], plan: plan, sampling: sampling, isPrefillInvariant: true)
      options.sampling.seed = seed
      let generation = try session.generate(prompt, options)
      for place in 0..<2 { counts[place][Int(generation.ids[place + 1])] += 1 }
      statistics += generation.statistics
    }
    let expected = try exact(target, prompt, sampling)
    for place in 0..<2 {
      #expect(ChiSquared.score(counts[place], expected[place]) < 4, "place \(place)")
      #expect(ChiSquared.score(counts[place], flattened(expected[place])) > 4, "a test that cannot fail")
    }
    // Proposals must be accepted and rejected, or nothing was tested.
    #expect(statistics.accepted[0] > 300 && statistics.accepted[0] < statistics.proposed[0] - 300)
  }

  /// A distribution that is a little wrong.
  private func flattened(_ p: [Double]) -> [Double] {
    let powered = p.map { $0 > 0 ? pow($0, 0.7) : 0 }
    let total = powered.reduce(0, +)
    return powered.map { $0 / total }
  }

  @Test("a seed decides the text")
  func aSeedDecidesTheText() throws {
    let (target, ids, _) = try Fixture.load("tiny-llama")
    let head = Drafts.random(for: target, size: 64, seed: 3)
    for plan in [Self.chain, Self.tree] {
      var options = DecodingOptions(maxNewTokens: 20, stopIDs: [], plan: plan)
      (options.sampling.temperature, options.sampling.seed) = (1, 5)
      func text() throws -> [Int32] { try DecodingSession(target: target, draft: head).generate(ids, options).ids }
      let first = try text()
      #expect(try text() == first)
      options.sampling.seed = 6
      #expect(try text() != first)
    }
  }

  @Test("a batch samples as sessions do")
  func batchesSampleAsSessionsDo() throws {
    let (target, ids, _) = try Fixture.load("tiny-qwen2")
    var options = DecodingOptions(maxNewTokens: 15, stopIDs: [])
    (options.sampling.temperature, options.sampling.seed) = (0.8, 9)
    let prompts = (0..<5).map { Array(ids.prefix(3 + $0)) }
    let answers = try Batch(target, width: 2).answers(prompts, maxNewTokens: 15, options.sampling)
    for (prompt, answer) in zip(prompts, answers) {
      #expect(try DecodingSession(target: target).generate(prompt, options).ids == answer)
    }
  }

  // MARK: filters

  private func distribution(_ logits: [Float], seen: [Int32] = [], _ edit: (inout SamplingOptions) -> Void) throws
    -> [Float]
  {
    var options = SamplingOptions()
    options.temperature = 1
    edit(&options)
    var values = logits
    try values.withUnsafeMutableBufferPointer { try Sampler(options, prompt: seen).makeDistribution($0, path: []) }
    return values
  }

  /// Checks the probabilities after a filter of 1/2, 1/4, 1/8 and 1/8.
  private func check(_ shares: [Float], _ edit: (inout SamplingOptions) -> Void) throws {
    let logits: [Float] = [8, 4, 2, 2].map { log($0) }
    let total = shares.reduce(0, +)
    for (value, share) in zip(try distribution(logits, edit), shares) { #expect(abs(value - share / total) < 1e-6) }
  }

  @Test("top-k, top-p, min-p and temperature leave the expected distribution")
  func filtersKeepWhatTheySay() throws {
    try check([4, 2, 1, 1]) { _ in }
    try check([4, 2, 0, 0]) { $0.topK = 2 }
    try check([4, 2, 1, 0]) { $0.topK = 3 }
    try check([4, 2, 0, 0]) { $0.topP = 0.7 }
    try check([1, 0, 0, 0]) { $0.topP = 0.4 }
    try check([4, 2, 0, 0]) { $0.minP = 0.4 }
    try check([16, 4, 1, 1]) { $0.temperature = 0.5 }
  }

  @Test("the most likely token stays for every top-p, however small, and however flat the distribution")
  func tinyTopP() throws {
    for p in [1e-9, 6e-8, 1e-7, 0.1] as [Float] {
      for count in [4, 1000, 50_257] {
        let kept = try distribution([Float](repeating: 1.5, count: count)) { $0.topP = p }
        #expect(kept[0] > 0 && kept.allSatisfy { $0.isFinite } && abs(kept.reduce(0, +) - 1) < 1e-3, "\(p) \(count)")
      }
    }
    let kept = try distribution([0, 2, 1]) { $0.topP = 1e-9 }
    #expect(kept[0] == 0 && abs(kept[1] - 1) < 1e-6 && kept[2] == 0)
  }

  /// z − c · frequency − presence for tokens that were generated, z + bias for those with one.
  @Test("frequency and presence penalties count generated tokens, and biases are added")
  func penaltiesAndBiases() throws {
    var options = SamplingOptions()
    (options.temperature, options.frequencyPenalty, options.presencePenalty) = (1, 0.5, 0.25)
    options.logitBias = [3: -1]
    // Of the prompt 0 0 1 2 2 the last two were generated; a path adds 2 and 3.
    var sampler = Sampler(options, prompt: [0, 0, 1])
    for token in [2, 2] as [Int32] { sampler.append(token) }
    var values: [Float] = [1, 1, 1, 1]
    try values.withUnsafeMutableBufferPointer { try sampler.makeDistribution($0, path: [2, 3]) }
    let weights: [Float] = [1, 1, 1 - 3 * 0.5 - 0.25, 1 - 1 - 0.5 - 0.25].map { exp($0) }
    let total = weights.reduce(0, +)
    for (value, weight) in zip(values, weights) { #expect(abs(value - weight / total) < 1e-6) }
  }

  @Test("the repetition penalty lowers tokens that the sequence holds")
  func thePenaltyLowersSeenTokens() throws {
    let penalized = try distribution([1, -1, 0], seen: [0, 1]) { $0.repetitionPenalty = 2 }
    let weights: [Float] = [0.5, -2, 0].map { exp($0) }
    let total = weights.reduce(0, +)
    for (value, weight) in zip(penalized, weights) { #expect(abs(value - weight / total) < 1e-6) }
  }

  @Test("invalid options are refused")
  func optionsWithoutAMeaningAreRefused() throws {
    let (target, ids, _) = try Fixture.load("tiny-llama")
    let edits: [(inout SamplingOptions) -> Void] = [
      { $0.temperature = -1 }, { $0.temperature = .nan }, { $0.topK = -1 }, { $0.topP = 0 }, { $0.topP = 1.1 },
      { $0.minP = 1 }, { $0.repetitionPenalty = 0 }, { $0.presencePenalty = .nan }, { $0.frequencyPenalty = .infinity },
      { $0.logitBias = [3: .nan] }, { $0.logitBias = [64: 1] }, { $0.logitBias = [-1: 1] }, { $0.logprobs = -1 },
    ]
    for edit in edits {
      var options = DecodingOptions(maxNewTokens: 3, stopIDs: [])
      edit(&options.sampling)
      #expect(throws: GenerationError.self) { try DecodingSession(target: target).generate(ids, options) }
    }
    for plan in [
      DraftPlan(depth: 3, width: 0, nodes: 3), DraftPlan(depth: 5, width: 2, nodes: 4), .chain(1000),
      DraftPlan(depth: 10, width: 30, nodes: 20),
    ] {
      let options = DecodingOptions(maxNewTokens: 3, stopIDs: [], plan: plan)
      #expect(throws: GenerationError.self) { try DecodingSession(target: target).generate(ids, options) }
    }
  }
}
