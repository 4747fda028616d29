import EagleAutograd
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import Testing

/// Heads of every variant draft, and do not change the text.
@Suite struct VariantDecodingTests {
  private static let names = [
    "norm_before_fc", "fc_norm", "norm_output", "norm_before_residual", "qk_norm", "window", "whole", "narrow",
    "two layers", "three layers",
  ]

  private static func config(_ name: String) -> DraftConfig {
    var config = DraftConfig()
    config.vocabularySize = 200
    switch name {
    case "norm_before_fc": config.normBeforeFC = true
    case "fc_norm": config.fcNorm = true
    case "norm_output": config.normOutput = true
    case "norm_before_residual": config.normBeforeResidual = true
    case "qk_norm": config.qkNorm = true
    case "window": config.slidingWindow = 64
    case "two layers": config.layers = 2
    case "three layers": (config.layers, config.slidingWindow, config.normOutput) = (3, 64, true)
    case "whole": (config.vocabularySize, config.lmHead) = (nil, .target)
    default: (config.hiddenSize, config.embedding, config.fcNorm, config.qkNorm) = (16, .own, true, true)
    }
    return config
  }

  @Test(
    "texts are those of plain decoding, with a chain and with a tree",
    arguments: names)
  func lossless(name: String) throws {
    for precision in ComputePrecision.allCases {
      let target = Drafts.target(seed: 3, precision: precision)
      let shape = Eagle3Shape(of: target.shape, Self.config(name), captureLayers: [0, 1, 2])
      let head = DraftModel.random(
        shape: shape,
        vocabulary: .mostFrequent(
          counts: [Int](repeating: 1, count: target.shape.vocabularySize), size: shape.draftVocabularySize, always: []),
        seed: 5
      ).rounded()
      var options = DecodingOptions(maxNewTokens: 90, stopIDs: [])
      let plain = try DecodingSession(target: target).generate([7, 8, 9, 10], options)
      for plan in [DraftPlan.chain(3), DraftPlan(depth: 3, width: 3, nodes: 8)] {
        options.plan = plan
        let drafted = try DecodingSession(target: target, draft: head).generate([7, 8, 9, 10], options)
        #expect(drafted.ids == plain.ids && drafted.statistics.draftedTokens > 0)
      }
    }
  }

  /// The drafts of a chain by the formula of training, without a cache: all rows of the prefix at depth 0, then the
  /// row's own chain.
  private func drafts(
    _ head: DraftModel, _ tables: TargetTables, _ aux: Tensor, next: [Int32], count: Int
  ) -> [Int32] {
    let network = head.eagle3!
    let (tape, rows) = (Tape(recording: false, precision: .fp32), aux.rows)
    let last = Int32(rows - 1)
    let states = network.project(tape, aux)
    let mixed = network.mix(tape, embedding: network.embeddings(tape, next, tables), hidden: states)
    let (table, top) = (network.rotary.table(positions: (0..<Int32(rows)).map { $0 }), network.shape.layers - 1)
    /// The keys of the prefix that row p sees at a depth.
    func seen(_ p: Int, depth: Int = 0) -> AttentionRow {
      let first = network.shape.variant.window.map { max(0, p + 1 + depth - $0) } ?? 0
      return AttentionRow(prefixStart: Int32(first), prefixCount: Int32(p + 1 - first))
    }
    var prefix: [(k: Variable, v: Variable)] = []
    let inputs = network.inputs(tape, through: 0..<top, .init(x: states, h: mixed), table) { layer, h, q in
      prefix.append(network.keys(tape, h, layer: layer, table))
      return tape.attention(
        q, prefix[layer].k, prefix[layer].v, rows: (0..<rows).map { seen($0) }, chain: [],
        shape: network.shape.attention)
    }
    prefix.append(network.keys(tape, inputs.h, layer: top, table))
    var (g, h) = (tape.gather(inputs.x, [last]), tape.gather(inputs.h, [last]))
    var (chains, tokens) = ([[ChainLink]](repeating: [], count: top + 1), [Int32]())
    for depth in 0..<count {
      let table = network.rotary.table(positions: [last + Int32(depth)])
      if depth > 0 {
        h = network.mix(tape, embedding: network.embeddings(tape, [tokens[depth - 1]], tables), hidden: g)
      }
      g = network.states(tape, from: depth == 0 ? top : 0, .init(x: g, h: h), table) { layer, h, q in
        if depth > 0 {
          let (k, v) = network.keys(tape, h, layer: layer, table)
          chains[layer].append(ChainLink(k: k, v: v, row: [0]))
        }
        return tape.attention(
          q, prefix[layer].k, prefix[layer].v, rows: [seen(rows - 1, depth: depth)], chain: chains[layer],
          shape: network.shape.attention)
      }
      let logits = tape.linear(network.normalized(tape, g), network.lmHead(tables)).value
      tokens.append(head.vocabulary.targetIDs[logits.argmax()[0]])
    }
    return tokens
  }

  @Test("a chain's drafts are those of the formula that the head was trained with", arguments: names)
  func draftsAreThoseOfTraining(name: String) throws {
    let target = Drafts.target(seed: 3)
    var shape = Eagle3Shape(of: target.shape, Self.config(name), captureLayers: [0, 1, 2])
    // Shorter than the sequence, so that it matters.
    if shape.variant.window != nil { shape.variant.window = 7 }
    let head = DraftModel.random(
      shape: shape,
      vocabulary: .mostFrequent(
        counts: [Int](repeating: 1, count: target.shape.vocabularySize), size: shape.draftVocabularySize, always: []),
      seed: 9)
    for parameter in head.parameters {
      let values = parameter.variable.value
      var random = RandomSource(seed: 4, purpose: parameter.name)
      // Norms that are not 1, and matrices that give peaked distributions.
      for i in 0..<values.count { values.floats[i] *= values.shape.count == 1 ? 0.5 + Float(random.uniform()) : 10 }
    }
    var plain = shape
    plain.variant = Eagle3Variant()
    var (drafted, differing) = (0, 0)
    for length in [3, 9, 20] {
      let ids = (0...Int32(length)).map { ($0 * 37 + Int32(length)) % 320 }
      let states = target.prefill(
        Array(ids.dropLast()), segments: [Segment(rows: 0..<length)], captureLayers: [0, 1, 2])
      let aux = try #require(states.auxHidden)
      let next = Array(ids.dropFirst())
      let expected = drafts(head, head.tables(of: target), aux, next: next, count: 4)
      // All rows at once; or a part, two rows that are dropped again, and the rest row by row.
      for isDivided in [false, true] {
        let drafter = head.makeDrafter(target: target, capacity: 64)
        let first = isDivided ? length / 2 : length
        drafter.extend(aux.slice(0..<first), nextTokens: Array(next[..<first]), .prefill)
        if isDivided {
          drafter.extend(aux.slice(0..<2), nextTokens: [5, 6], .decode)
          drafter.truncate(to: first)
          for row in first..<length { drafter.extend(aux.slice(row..<row + 1), nextTokens: [next[row]], .decode) }
        }
        let proposal = try drafter.propose(
          after: ids[length], plan: .chain(4), sampler: Sampler(.greedy, prompt: []), budget: nil)
        #expect(Array(proposal.tokens.suffix(4)) == expected, "\(isDivided)")
      }
      drafted += expected.count
      differing += Set(expected).count
    }
    #expect(drafted == 12 && differing > 3, "drafts that are all the same show nothing")
  }
}
