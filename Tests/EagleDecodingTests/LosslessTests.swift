import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import Testing

/// Proposals change the speed of decoding, and nothing of its result.
@Suite struct LosslessTests {
  private static let plans: [DraftPlan] = [
    .chain(1), .chain(3), .chain(6), DraftPlan(depth: 4, width: 3, nodes: 8), DraftPlan(depth: 3, width: 4, nodes: 12),
    DraftPlan(depth: 5, width: 2, nodes: 10, costs: DecodingCosts(targetPass: [1, 1.02, 1.05, 1.1], draftPass: 0.1)),
  ]

  /// A token sequence, and the bits of all logits that gave its tokens.
  private struct Trace: Equatable {
    var ids: [Int32] = []
    var logits: UInt64 = 0xcbf2_9ce4_8422_2325
    var passes = 0

    mutating func add(_ row: UnsafeMutableBufferPointer<Float>) {
      for value in row { logits = (logits ^ UInt64(value.bitPattern)) &* 0x100_0000_01b3 }
    }

    static func == (a: Trace, b: Trace) -> Bool { a.ids == b.ids && a.logits == b.logits }
  }

  private func trace(_ session: DecodingSession, _ prompt: [Int32], _ options: DecodingOptions) throws -> Trace {
    nonisolated(unsafe) var trace = Trace()
    session.onLogits = { trace.add($0) }
    let generation = try session.generate(prompt, options)
    trace.ids = generation.ids
    trace.passes = generation.statistics.targetPasses
    return trace
  }

  /// 200 prompts of 128 tokens on bfloat16 weights, half of them with rounded rows: chains and trees, good, random and
  /// adversarial drafts.
  @Test("greedy texts and logits are bit for bit those of plain decoding")
  func greedyTextsAndLogitsAreThoseOfPlainDecoding() throws {
    let targets = ComputePrecision.allCases.map { Drafts.target(seed: 3, precision: $0) }
    let head = Drafts.random(for: targets[0], size: 200, seed: 4)
    let vocabulary = targets[0].shape.vocabularySize
    var random = RandomSource(seed: 5)
    var (differing, runs, saved) = (0, 0, 0)
    for index in 0..<200 {
      let target = targets[index / Self.plans.count % 2]
      let prompt = (0..<Int.random(in: 1...40, using: &random)).map { _ in
        Int32.random(in: 0..<Int32(vocabulary), using: &random)
      }
      var options = DecodingOptions(maxNewTokens: 128, stopIDs: [])
      let plain = try trace(DecodingSession(target: target), prompt, options)
      let drafters: [any Drafter] =
        KnowingDrafter.Kind.allCases.map {
          KnowingDrafter(text: prompt + plain.ids, kind: $0, vocabulary: vocabulary, seed: UInt64(index))
        } + [head.makeDrafter(target: target, capacity: 600)]
      for (number, drafter) in drafters.enumerated() {
        options.plan = Self.plans[(index + number) % Self.plans.count]
        let speculative = try trace(DecodingSession(target: target, drafter: drafter), prompt, options)
        differing += speculative == plain ? 0 : 1
        saved += plain.passes - speculative.passes
        runs += 1
      }
    }
    #expect(differing == 0 && runs == 800)
    #expect(saved > 20000, "good drafts must save passes")
  }

  /// With a temperature, a tree's tokens are sampled as in plain decoding.
  @Test("a seed gives the same text with and without a tree", arguments: ComputePrecision.allCases)
  func aSeedGivesTheSameTextWithAndWithoutATree(precision: ComputePrecision) throws {
    let target = Drafts.target(seed: 6, precision: precision)
    let session = DecodingSession(target: target, draft: Drafts.random(for: target, size: 320, seed: 7))
    var texts: Set<[Int32]> = []
    for seed in 0..<20 as Range<UInt64> {
      var options = DecodingOptions(maxNewTokens: 40, stopIDs: [])
      options.sampling.temperature = 0.3
      (options.sampling.topP, options.sampling.repetitionPenalty, options.sampling.seed) = (0.9, 1.2, seed)
      (options.sampling.presencePenalty, options.sampling.frequencyPenalty) = (0.2, 0.1)
      let plain = try DecodingSession(target: target).generate([5, 6, 7], options)
      options.plan = DraftPlan(depth: 3, width: 3, nodes: 9)
      let speculative = try session.generate([5, 6, 7], options)
      #expect(speculative.ids == plain.ids, "seed \(seed)")
      texts.insert(plain.ids)
    }
    #expect(texts.count == 20)
  }

  @Test("a repetition penalty applies to drafted tokens too")
  func aRepetitionPenaltyIsAppliedToDraftedTokensToo() throws {
    let target = Drafts.target(seed: 8)
    var options = DecodingOptions(maxNewTokens: 60, stopIDs: [])
    options.sampling.repetitionPenalty = 1.5
    let plain = try DecodingSession(target: target).generate([1, 2], options)
    for kind in KnowingDrafter.Kind.allCases {
      for plan in Self.plans {
        options.plan = plan
        let drafter = KnowingDrafter(text: [1, 2] + plain.ids, kind: kind, vocabulary: 320, seed: 1)
        #expect(try DecodingSession(target: target, drafter: drafter).generate([1, 2], options).ids == plain.ids)
      }
    }
    options.sampling.repetitionPenalty = 1
    #expect(try DecodingSession(target: target).generate([1, 2], options).ids != plain.ids)
  }

  @Test("presence and frequency penalties and biases apply to drafted tokens as to written ones")
  func penaltiesOfDraftedTokens() throws {
    let target = Drafts.target(seed: 8)
    let free = try DecodingSession(target: target).generate([1, 2], DecodingOptions(maxNewTokens: 60, stopIDs: [])).ids
    var options = DecodingOptions(maxNewTokens: 60, stopIDs: [])
    (options.sampling.presencePenalty, options.sampling.frequencyPenalty) = (0.4, 0.3)
    options.sampling.logitBias = [free[0]: -1, 11: 0.5]
    let plain = try DecodingSession(target: target).generate([1, 2], options)
    #expect(plain.ids != free)
    let head = Drafts.random(for: target, size: 200, seed: 4)
    for plan in Self.plans {
      options.plan = plan
      let drafters: [any Drafter] =
        KnowingDrafter.Kind.allCases.map {
          KnowingDrafter(text: [1, 2] + plain.ids, kind: $0, vocabulary: 320, seed: 1)
        } + [head.makeDrafter(target: target, capacity: 600)]
      for drafter in drafters {
        #expect(try DecodingSession(target: target, drafter: drafter).generate([1, 2], options).ids == plain.ids)
      }
    }
  }

  /// The next turn of a conversation computes only its new part, and the text is that of a new session with the same
  /// GEMMs for the prompt.
  @Test("the next turn of a conversation computes only its new part", arguments: ComputePrecision.allCases)
  func aSessionGoesOnWhereItsCacheEnds(precision: ComputePrecision) throws {
    let target = Drafts.target(seed: 9, precision: precision)
    let head = Drafts.random(for: target, size: 320, seed: 10)
    let options = DecodingOptions(maxNewTokens: 30, stopIDs: [], isPrefillInvariant: true)
    for draft in [nil, head] {
      let session = DecodingSession(target: target, draft: draft)
      var prompt: [Int32] = [3, 1, 4, 1, 5]
      for turn in 0..<3 {
        let continued = try session.generate(prompt, options)
        #expect(continued.ids == (try DecodingSession(target: target).generate(prompt, options).ids))
        let reused = continued.statistics.cachedTokens
        #expect(turn == 0 ? reused == 0 : reused == prompt.count - 4)
        prompt += continued.ids + [7, 8]
      }
      // Another branch: only the common prefix is kept.
      prompt = Array(prompt.prefix(20)) + [9, 9]
      let branched = try session.generate(prompt, options)
      #expect(branched.ids == (try DecodingSession(target: target).generate(prompt, options).ids))
      #expect(branched.statistics.cachedTokens == 19)
      session.reset()
      #expect(session.cachedTokens == 0)
    }
  }

  @Test(
    "with quantised weights texts are equal with and without a draft",
    arguments: [WeightFormat.q8_0, .q4_0, .q4_k])
  func quantisedWeightsDecodeAlikeWithAndWithoutADraft(_ format: WeightFormat) throws {
    let tiny = try TargetModel(folder: Fixture.folder("tiny-qwen3"), format: format, precision: .bf16)
    let head = Drafts.random(for: tiny, size: 64, seed: 2).quantized(format)
    for seed in 0..<6 as Range<Int32> {
      var options = DecodingOptions(maxNewTokens: 40, stopIDs: [])
      let plain = try DecodingSession(target: tiny).generate([seed, 3, 9], options)
      for plan in Self.plans {
        options.plan = plan
        #expect(try DecodingSession(target: tiny, draft: head).generate([seed, 3, 9], options).ids == plain.ids)
      }
    }
  }

  @Test(
    "with rounded keys and values texts are equal with and without a draft",
    arguments: [CacheFormat.bf16, .q8_0], ComputePrecision.allCases)
  func roundedCachesDecodeAlikeWithAndWithoutADraft(_ cache: CacheFormat, _ precision: ComputePrecision) throws {
    let (exact, target) = (
      Drafts.target(seed: 13, precision: precision, cache: .fp32, headDimension: 32),
      Drafts.target(seed: 13, precision: precision, cache: cache, headDimension: 32)
    )
    let head = Drafts.random(for: target, size: 320, seed: 14)
    var changed = 0
    for seed in 0..<10 as Range<Int32> {
      let prompt = [seed, 3, 9, 27, 81]
      var options = DecodingOptions(maxNewTokens: 100, stopIDs: [])
      let plain = try trace(DecodingSession(target: target), prompt, options)
      changed += try plain == trace(DecodingSession(target: exact), prompt, options) ? 0 : 1
      let drafters: [any Drafter] = [
        KnowingDrafter(text: prompt + plain.ids, kind: .misleading, vocabulary: 320, seed: UInt64(seed)),
        head.makeDrafter(target: target, capacity: 600),
      ]
      for drafter in drafters {
        for plan in Self.plans {
          options.plan = plan
          #expect(try trace(DecodingSession(target: target, drafter: drafter), prompt, options) == plain)
        }
      }
    }
    #expect(changed == 10, "rounding must show in the logits")
  }

  @Test("a prompt of several chunks gives the same text with and without a draft")
  func aPromptOfSeveralPassesIsRead() throws {
    let target = Drafts.target(seed: 11, maxPositions: 2000)
    let head = Drafts.random(for: target, size: 320, seed: 12)
    let prompt = (0..<1100).map { Int32($0 * 7 % 320) }
    var options = DecodingOptions(maxNewTokens: 20, stopIDs: [])
    let plain = try DecodingSession(target: target).generate(prompt, options)
    options.plan = DraftPlan(depth: 3, width: 2, nodes: 6)
    let speculative = try DecodingSession(target: target, draft: head).generate(prompt, options)
    #expect(speculative.ids == plain.ids && speculative.statistics.promptTokens == 1100)
  }
}
