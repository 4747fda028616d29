import EagleAutograd
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import Foundation
import Testing

/// Decoding with block drafters.
@Suite struct BlockDecodingTests {
  /// A way to train a block drafter.
  struct Kind: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let change: @Sendable (inout DraftConfig) -> Void
  }

  static let kinds = [
    Kind(testDescription: "dspark") { $0.markovRank = 8 },
    Kind(testDescription: "dspark over the whole vocabulary") { ($0.markovRank, $0.vocabularySize) = (8, nil) },
    Kind(testDescription: "dspark without heads") { ($0.markovRank, $0.confidenceHead) = (0, false) },
    Kind(testDescription: "dspark with its own LM head") { ($0.markovRank, $0.lmHead) = (8, .own) },
    Kind(testDescription: "dflash") { $0.architecture = .dflash },
    Kind(testDescription: "dflash from its anchor") { ($0.architecture, $0.sampleFromAnchor) = (.dflash, true) },
  ]

  /// A head of random weights with peaked distributions, and with norms that are not 1.
  private func head(_ kind: Kind, of target: TargetModel, seed: UInt64 = 9) throws -> DraftModel {
    var config = DraftConfig()
    (config.architecture, config.vocabularySize, config.layers, config.blockSize) = (.dspark, 160, 2, 5)
    kind.change(&config)
    try config.validate()
    try config.requireFit(target.shape)
    let shape = config.shape(of: target.shape, captureLayers: [0, 2])
    let counts = (0..<target.shape.vocabularySize).map { ($0 * 7) % 11 }
    let head = DraftModel.random(
      shape: shape, vocabulary: .mostFrequent(counts: counts, size: shape.draftVocabularySize, always: []), seed: seed)
    for parameter in head.parameters {
      let values = parameter.variable.value
      var random = RandomSource(seed: 4, purpose: parameter.name)
      for i in 0..<values.count { values.floats[i] *= values.shape.count == 1 ? 0.5 + Float(random.uniform()) : 10 }
    }
    return head
  }

  @Test("texts are those of plain decoding, with a chain and with a tree, cut by costs or not", arguments: kinds)
  func lossless(kind: Kind) throws {
    for precision in ComputePrecision.allCases {
      let target = Drafts.target(seed: 3, precision: precision)
      let head = try head(kind, of: target).rounded()
      var options = DecodingOptions(maxNewTokens: 90, stopIDs: [])
      let plain = try DecodingSession(target: target).generate([7, 8, 9, 10], options)
      let costs = DecodingCosts(targetPass: [1, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08], draftPass: 0.01)
      for plan in [
        DraftPlan.chain(3), .chain(12), DraftPlan(depth: 4, width: 3, nodes: 12),
        DraftPlan(depth: 4, width: 1, nodes: 4, costs: costs), DraftPlan(depth: 4, width: 2, nodes: 8, costs: costs),
      ] {
        options.plan = plan
        let drafted = try DecodingSession(target: target, draft: head).generate([7, 8, 9, 10], options)
        #expect(drafted.ids == plain.ids, "\(plan)")
        // Costs may prevent the drafts of a random head.
        #expect(drafted.statistics.draftedTokens > 0 || plan.costs != nil, "\(plan)")
      }
    }
  }

  /// The drafts of a chain by the formula of training: one pass over the context and the block, then the Markov head.
  private func drafts(
    _ head: DraftModel, _ target: TargetModel, _ aux: Tensor, anchor: Int32
  ) throws -> [Int32] {
    let shape = try #require(head.shape as? BlockShape)
    let objective = try #require(head.network as? BlockNetwork)
    let states = objective.states(aux, anchor: anchor, head.tables(of: target))
    let tensors = Dictionary(uniqueKeysWithValues: head.parameters.map { ($0.name, $0.variable.value) })
    let rows = tensors["lm_head.weight"] ?? Rows.select(target.head, head.vocabulary.targetIDs)
    let base = Matmul.forward(states, rows.float32(), .fp32)
    var (previous, tokens) = (anchor, [Int32]())
    for slot in 0..<shape.proposals {
      let row = slot + (shape.samplesFromAnchor ? 0 : 1)
      let logits = Rows.select(base, [Int32(row)])
      if let w1 = tensors["markov_head.markov_w1.weight"], let w2 = tensors["markov_head.markov_w2.weight"] {
        Elementwise.accumulate(Matmul.forward(Rows.select(w1, [previous]), w2, .fp32), into: logits)
      }
      previous = head.vocabulary.targetIDs[logits.argmax()[0]]
      tokens.append(previous)
    }
    return tokens
  }

  @Test("a chain's drafts are those of the formula that the head was trained with", arguments: kinds)
  func draftsAreThoseOfTraining(kind: Kind) throws {
    let target = Drafts.target(seed: 3)
    let head = try head(kind, of: target)
    var all: [Int32] = []
    for length in [1, 9, 20] {
      let ids = (0...Int32(length)).map { ($0 * 37 + Int32(length)) % 320 }
      let states = target.prefill(
        Array(ids.dropLast()), segments: [Segment(rows: 0..<length)], captureLayers: [0, 2])
      let aux = try #require(states.auxHidden)
      let drafter = head.makeDrafter(target: target, capacity: 64)
      // In two parts, like a prompt and a round.
      drafter.extend(aux.slice(0..<1), nextTokens: [ids[1]], .prefill)
      if length > 1 { drafter.extend(aux.slice(1..<length), nextTokens: Array(ids.dropFirst(2)), .decode) }
      let proposal = try drafter.propose(
        after: ids[length], plan: .chain(12), sampler: Sampler(.greedy, prompt: []), budget: nil)
      #expect(proposal.passes == 1 && drafter.count == length)
      let expected = try drafts(head, target, aux, anchor: ids[length])
      #expect(Array(proposal.tokens.dropFirst()) == expected)
      all += expected
    }
    #expect(Set(all).count > 3, "drafts that are all the same show nothing")
  }

  @Test("a chain ends before a token whose acceptance, as the confidence head has it, is not worth its row")
  func confidenceEndsBlocks() throws {
    let target = Drafts.target(seed: 3)
    let head = try head(Self.kinds[0], of: target)
    let bias = try #require(head.parameters.first { $0.name == "confidence_head.proj.bias" }).variable.value
    let weights = try #require(head.parameters.first { $0.name == "confidence_head.proj.weight" }).variable.value
    weights.clear()
    let ids: [Int32] = [7, 8, 9, 10]
    let states = target.prefill(ids, segments: [Segment(rows: 0..<4)], captureLayers: [0, 2])
    let aux = try #require(states.auxHidden)
    // A row costs a tenth of a pass, and a token has cost 0.7 passes so far. A path is worth its cost while its
    // probability is above 1 / 7.
    let costs = DecodingCosts(targetPass: (0..<12).map { 1 + 0.1 * Double($0) }, draftPass: 0.01)
    for (confidence, expected) in [(0.99, 5), (0.5, 2), (0.05, 0)] {
      bias.floats[0] = Float(log(confidence / (1 - confidence)))
      let drafter = head.makeDrafter(target: target, capacity: 64)
      drafter.extend(aux, nextTokens: [8, 9, 10, 11], .prefill)
      var budget = DraftBudget(costs: costs)
      budget.count(draftPasses: 1, tokens: 2, depth: 1, kept: 1)
      let plan = DraftPlan(depth: 5, width: 1, nodes: 5, costs: costs)
      let proposal = try drafter.propose(
        after: 11, plan: plan, sampler: Sampler(.greedy, prompt: []), budget: budget)
      #expect(proposal.count == expected && proposal.passes == 1, "\(confidence): \(proposal.count)")
    }
  }

  @Test("a head in blocks, beside a cache in any format, drafts for the same text", arguments: CacheFormat.allCases)
  func quantized(cache: CacheFormat) throws {
    let target = Drafts.target(seed: 3, precision: .bf16, cache: cache, headDimension: 32)
    for kind in [Self.kinds[0], Self.kinds[4]] {
      let head = try head(kind, of: target).rounded()
      for format in [WeightFormat.stored, .q8_0, .q4_0] {
        var options = DecodingOptions(maxNewTokens: 60, stopIDs: [])
        let plain = try DecodingSession(target: target).generate([7, 8, 9, 10], options)
        options.plan = .chain(4)
        let drafted = try DecodingSession(target: target, draft: head.quantized(format)).generate(
          [7, 8, 9, 10], options)
        #expect(drafted.ids == plain.ids && drafted.statistics.draftedTokens > 0, "\(format)")
      }
    }
  }

  @Test(
    "a head gets the rows of the target's LM head, also where that is in tiles already",
    arguments: [DType.q8_0, .q4_0])
  func rowsOfTheTargetsHead(format: DType) {
    var random = RandomSource(seed: 6)
    let matrix = Tensor.normal([43, 64], deviation: 1, using: &random).quantized(format)
    let rows: [Int32] = [0, 7, 8, 31, 42]
    let expected = Rows.select(matrix, rows).float32().values
    #expect(Rows.select(matrix.float32(), rows).values == expected)
    matrix.prepare(for: .batchInvariant(.bf16))
    #expect(Rows.select(matrix, rows).float32().values == expected)
  }

  @Test("a text may fill the context", arguments: [kinds[0], kinds[4]])
  func endOfContext(kind: Kind) throws {
    let target = Drafts.target(seed: 3, maxPositions: 64)
    let head = try head(kind, of: target)
    var options = DecodingOptions(maxNewTokens: 60, stopIDs: [])
    let plain = try DecodingSession(target: target).generate([7, 8, 9, 10], options)
    options.plan = .chain(4)
    #expect(try DecodingSession(target: target, draft: head).generate([7, 8, 9, 10], options).ids == plain.ids)
  }

  @Test(
    "a sampled chain has the target's distribution, cut by costs or not", arguments: [kinds[0], kinds[4]],
    [false, true])
  func sampled(kind: Kind, isAdaptive: Bool) throws {
    // A row costs a fifth of a pass, so that chains of several lengths are worth their costs.
    let costs = isAdaptive ? DecodingCosts(targetPass: (0..<5).map { 1 + 0.2 * Double($0) }, draftPass: 0.01) : nil
    let target = Drafts.target(seed: 6)
    let head = try head(kind, of: target)
    var options = DecodingOptions(maxNewTokens: 3, stopIDs: [])
    options.sampling.temperature = 0.4
    var counts: [[Int32: Int]] = [[:], [:]]
    let sessions = [DecodingSession(target: target), DecodingSession(target: target, draft: head)]
    for seed in 0..<1500 {
      options.sampling.seed = UInt64(seed)
      for (index, session) in sessions.enumerated() {
        options.plan = index == 0 ? .chain(0) : DraftPlan(depth: 3, width: 1, nodes: 3, costs: costs)
        counts[index][try session.generate([5, 6, 7], options).ids[2], default: 0] += 1
      }
    }
    let tokens = Set(counts[0].keys).union(counts[1].keys)
    // The third token's distribution: Σ (a − b)² / (a + b) has the mean of the number of tokens, and twice its
    // variance.
    let statistic = tokens.reduce(0.0) {
      let (a, b) = (Double(counts[0][$1] ?? 0), Double(counts[1][$1] ?? 0))
      return $0 + (a - b) * (a - b) / (a + b)
    }
    let freedom = Double(tokens.count - 1)
    #expect(statistic < freedom + 5 * (2 * freedom).squareRoot(), "\(statistic) for \(freedom)")
  }
}
