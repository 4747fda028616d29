import EagleAutograd
import EagleCaptureStore
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor
import EagleText
import EagleTraining
import Testing

/// Compares long conversations in chunks of rows with the same conversations in one pass.
@Suite struct ChunkTests {
  private let fixture: DraftStepFixture

  init() throws { fixture = try .load() }

  private var depths: Int { fixture.config.ttt_length }

  private func objective(
    _ draft: DraftModel, longestWhole: Int, rows: Int, _ precision: ComputePrecision = .fp32,
    mean: LossMean = .tokens, share: Double = 1, tick: @escaping () -> Void = {}
  ) -> any Objective {
    draft.objective(
      tables: TargetTables(embedding: fixture.embedding),
      teacher: Teacher(head: fixture.head, vocabulary: fixture.vocabulary, precision: precision),
      settings: settings(longestWhole: longestWhole, rows: rows, precision, mean: mean, share: share), tick: tick)
  }

  private func settings(
    longestWhole: Int, rows: Int, _ precision: ComputePrecision = .fp32, mean: LossMean, share: Double
  ) -> ObjectiveSettings {
    var settings = ObjectiveSettings(
      tttLength: depths, stepDecay: fixture.config.step_decay, mean: mean, precision: precision,
      chunking: .init(longestWhole: longestWhole, rows: rows))
    settings.tttShare = share
    return settings
  }

  /// Random tokens and states with 1 in the mask on `spans`.
  private func conversation(_ tokens: Int, _ spans: [Range<Int>], seed: UInt64) -> CapturedConversation {
    var random = RandomSource(seed: seed)
    let hidden = fixture.config.hidden_size
    return CapturedConversation(
      ids: (0..<tokens).map { _ in Int32.random(in: 0..<Int32(fixture.config.vocab_size), using: &random) },
      lossMask: (0..<tokens).map { position in spans.contains { $0.contains(position) } ? 1 : 0 },
      auxHidden: Tensor.normal([tokens, 3 * hidden], deviation: 1, using: &random).bfloat16(),
      lastHidden: Tensor.normal([tokens, hidden], deviation: 1, using: &random).bfloat16(), teacherArgmax: nil,
      teacherLogSum: nil)
  }

  /// Spans at the start and at the end, some shorter than K; untrained rows between them.
  private var long: CapturedConversation {
    conversation(90, [0..<17, 20..<22, 25..<28, 31..<33, 40..<77, 80..<90], seed: 3)
  }

  private func globalRows(_ conversations: [CapturedConversation]) -> [Double] {
    (0..<depths).map { k in
      Double(
        max(1, conversations.reduce(0) { $0 + TrainedRows(mask: $1.lossMask, depths: depths).count(depth: k) }))
    }
  }

  private struct Result {
    var sums: [PositionSums]
    var gradients: [String: [Float]]
  }

  /// A head of the fixture's sizes; with several layers, one with random weights.
  private func draft(layers: Int) -> DraftModel {
    guard layers > 1 else { return fixture.draft() }
    var shape = fixture.shape
    shape.layers = layers
    let draft = DraftModel.random(shape: shape, vocabulary: fixture.vocabulary, seed: 8)
    for parameter in draft.parameters where parameter.variable.value.shape.count > 1 {
      let values = parameter.variable.value
      for i in 0..<values.count { values.floats[i] *= 20 }
    }
    return draft
  }

  private func run(
    _ conversations: [CapturedConversation], longestWhole: Int, rows: Int, _ precision: ComputePrecision = .fp32,
    layers: Int = 1
  ) -> Result {
    let draft = draft(layers: layers)
    let sums = objective(draft, longestWhole: longestWhole, rows: rows, precision).run(
      conversations, globalRows: globalRows(conversations), recording: true)
    return Result(
      sums: sums,
      gradients: Dictionary(uniqueKeysWithValues: draft.parameters.map { ($0.name, $0.variable.gradient!.values) }))
  }

  /// - Parameter tolerance: the tolerance of a gradient's difference relative to its norm, and of losses
  private func expectEqual(_ a: Result, _ b: Result, tolerance: Double) {
    #expect(a.sums.map(\.rows) == b.sums.map(\.rows))
    for (x, y) in zip(a.sums, b.sums) {
      #expect(abs(x.loss - y.loss) <= tolerance * abs(y.loss))
      #expect(abs(x.overlap - y.overlap) <= tolerance * abs(y.overlap))
    }
    for (name, reference) in b.gradients {
      let difference = zip(a.gradients[name]!, reference).reduce(0.0) {
        $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
      }
      let error = (difference / reference.reduce(0.0) { $0 + Double($1) * Double($1) }).squareRoot()
      #expect(error < tolerance, "\(name): \(error)")
    }
  }

  // MARK: rows

  @Test("chunks hold every trained row once, and no more rows than they may", arguments: [1, 2, 3, 7, 64, 1000])
  func chunksCoverTheRows(limit: Int) {
    let trained = TrainedRows(mask: long.lossMask, depths: depths)
    let chunks = trained.chunks(of: limit)
    for k in 0..<depths {
      #expect(chunks.flatMap { trained.rows(depth: k, in: $0.rows) } == trained.rows(depth: k))
      #expect(chunks.map { $0.trained[k] }.reduce(0, +) == trained.count(depth: k))
      let attended = trained.rows(depth: k).reduce(0) { $0 + $1 + 1 + k }
      #expect(chunks.map { $0.attended[k] }.reduce(0, +) == attended)
    }
    #expect(chunks.allSatisfy { $0.trained[0] <= limit && $0.trained[0] > 0 })
    let sizes = chunks.map { $0.trained[0] }
    #expect(sizes.max()! - sizes.min()! <= 1)
    for chunk in chunks {
      let needed = (0..<depths).flatMap { k in trained.rows(depth: k, in: chunk.rows).map { $0 + 1 + k } }
      #expect(trained.teacherPositions(in: chunk.rows) == Set(needed).sorted())
    }
  }

  @Test("a conversation without trained rows has no chunks") func aConversationWithoutTrainedRowsHasNoChunks() {
    #expect(TrainedRows(mask: [0, 1, 0], depths: 2).chunks(of: 4).isEmpty)
  }

  // MARK: gradients

  @Test("a conversation in chunks has the loss and gradient of one pass", arguments: [1, 2, 5, 7, 16, 40, 1000])
  func chunksGiveTheGradientOfOnePass(rows: Int) {
    let whole = run([long], longestWhole: 1000, rows: 1000)
    // because: float32 sums of some tens of rows in another order
    expectEqual(run([long], longestWhole: 10, rows: rows), whole, tolerance: 2e-6)
  }

  @Test(
    "the same with several layers, whose keys are computed a chunk of rows at a time", arguments: [1, 5, 40], [2, 3])
  func chunksOfSeveralLayers(rows: Int, layers: Int) {
    let whole = run([long], longestWhole: 1000, rows: 1000, layers: layers)
    // because: float32 sums of some tens of rows in another order
    expectEqual(run([long], longestWhole: 10, rows: rows, layers: layers), whole, tolerance: 1e-5)
  }

  @Test("the same to the rounding of bfloat16 operands", arguments: [5, 16])
  func chunksGiveTheGradientOfOnePassInBFloat16(rows: Int) {
    let whole = run([long], longestWhole: 1000, rows: 1000, .bf16)
    // because: a gradient that has several contributions is rounded (by up to 2⁻⁸) with each, and not once after their
    // sum
    expectEqual(run([long], longestWhole: 10, rows: rows, .bf16), whole, tolerance: 1e-2)
  }

  @Test("long and short conversations go together") func longAndShortAreMixed() {
    let short = [conversation(12, [3..<12], seed: 4), conversation(9, [0..<4], seed: 5), conversation(5, [], seed: 6)]
    let all = [short[0], long, short[1], conversation(60, [30..<60], seed: 7), short[2]]
    expectEqual(
      run(all, longestWhole: 20, rows: 8), run(all, longestWhole: 1000, rows: 1000), tolerance: 2e-6)
  }

  @Test("measuring keeps no gradients and counts the same") func heldOutIsChunked() {
    let draft = fixture.draft()
    var chunks = 0
    let counted = objective(draft, longestWhole: 10, rows: 9) { chunks += 1 }.run(
      [long], globalRows: globalRows([long]), recording: false)
    let whole = objective(draft, longestWhole: 1000, rows: 9).run(
      [long], globalRows: globalRows([long]), recording: false)
    #expect(chunks == TrainedRows(mask: long.lossMask, depths: depths).chunks(of: 9).count)
    #expect(counted.map(\.rows) == whole.map(\.rows) && counted.map(\.hits) == whole.map(\.hits))
    for (a, b) in zip(counted, whole) { #expect(abs(a.loss - b.loss) <= 2e-6 * b.loss) }
    #expect(draft.parameters.allSatisfy { $0.variable.gradient == nil })
  }

  // MARK: parts

  /// The conversation with the states that a part needs, and random values instead of the states after them.
  private func cut(_ all: CapturedConversation, to part: ConversationPart) -> CapturedConversation {
    let states = 0..<(part.states ?? all.ids.count)
    return CapturedConversation(
      ids: all.ids, lossMask: all.lossMask, auxHidden: all.auxHidden.slice(states),
      lastHidden: all.lastHidden.slice(states),
      teacherArgmax: nil, teacherLogSum: nil)
  }

  @Test(
    "parts of conversations have the loss and gradient of the whole", arguments: [1000, 10],
    [(LossMean.tokens, 1.0, 1), (.conversations, 1, 1), (.tokens, 0.5, 1), (.conversations, 0.3, 1), (.tokens, 1, 2)])
  func partsGiveTheGradientOfTheWhole(
    longestWhole: Int, setting: (mean: LossMean, share: Double, layers: Int)
  ) {
    let (mean, share, layers) = setting
    let all = [long, conversation(60, [30..<60], seed: 7)]
    let costs = draft(layers: layers).shape.costs(
      settings(longestWhole: longestWhole, rows: 9, mean: mean, share: share))
    func result(_ parts: [ConversationPart]) -> Result {
      let draft = draft(layers: layers)
      let objective = objective(draft, longestWhole: longestWhole, rows: 9, mean: mean, share: share)
      let counts = all.indices.map { objective.rowCounts(conversation: $0, mask: all[$0].lossMask, epoch: 0) }
      let rows = (0..<depths).map { k in counts.reduce(0.0) { $0 + Double($1[k]) } }
      var sums = objective.noSums
      for part in parts {
        let own = objective.batch([part], [cut(all[part.conversation], to: part)], epoch: 0)
        sums = zip(sums, own.run(globalRows: rows, recording: true)).map { $0 + $1 }
      }
      return Result(
        sums: sums,
        gradients: Dictionary(uniqueKeysWithValues: draft.parameters.map { ($0.name, $0.variable.gradient!.values) }))
    }
    let items = all.indices.map {
      BatchPartition.Item(
        $0, costs.work(mask: all[$0].lossMask, samples: true), length: all[$0].ids.count)
    }
    let parts = BatchPartition(items, ranks: 5, depths: depths).parts.flatMap { $0 }
    #expect(parts.count >= 5 && parts.contains { $0.states != nil })
    // because: float32 sums of some tens of rows in another order
    expectEqual(result(parts), result(all.indices.map { .whole($0) }), tolerance: 3e-6)
  }

  // MARK: when gradients are final

  @Test("each parameter is final once, after its last contribution", arguments: [7, 1000], [1, 3])
  func parametersAreFinalOnce(rows: Int, layers: Int) {
    let all = [conversation(12, [3..<12], seed: 4), long, conversation(60, [30..<60], seed: 7)]
    for conversations in [all, all.reversed(), [long]] {
      let draft = draft(layers: layers)
      let objective = objective(draft, longestWhole: 20, rows: rows)
      var told: [(variable: Variable, gradient: [Float])] = []
      let batch = objective.batch(conversations, epoch: nil)
      _ = batch.run(globalRows: globalRows(conversations), recording: true) {
        told.append(($0, $0.gradient?.values ?? []))
      }
      let count = draft.parameters.count
      #expect(told.count == count && Set(told.map { ObjectIdentifier($0.variable) }).count == count)
      for (variable, gradient) in told { #expect(gradient == variable.gradient!.values) }
    }
  }
}
