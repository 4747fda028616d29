import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor

// N context rows · R block rows · C counted proposals · K proposals of a block · L layers · kv key heads · d head
// dimension · n captured layers · H hidden.

/// Conversations laid out for the objective of block drafters.
struct BlockBatch: ObjectiveBatch {
  let objective: BlockObjective
  let parts: [Part]

  /// The unit of one forward and backward computation.
  enum Part {
    case whole(Whole)
    case chunked(Chunked)
  }

  /// Short conversations, concatenated.
  struct Whole {
    let context: BlockContext
    let rows: BlockRows
    let targets: TeacherTargets
  }

  /// A long conversation, some anchors at a time.
  final class Chunked {
    let conversation: CapturedConversation
    let context: BlockContext
    let chunks: [BlockAnchors]
    /// The first chunk, whose targets are computed ahead; those of others are computed right before them.
    var first: (BlockRows, TeacherTargets)?

    init(conversation: CapturedConversation, context: BlockContext, chunks: [BlockAnchors]) {
      (self.conversation, self.context, self.chunks) = (conversation, context, chunks)
    }
  }

  private var network: BlockNetwork { objective.network }
  private var precision: ComputePrecision { objective.settings.precision }

  func run(globalRows: [Double], recording: Bool, isFinal: (Variable) throws -> Void) rethrows -> [PositionSums] {
    var sums = objective.noSums
    let total = globalRows.enumerated().reduce(0.0) { $0 + objective.weight($1.offset) * $1.element }
    let factor = total > 0 ? Float(1 / total) : 0
    for (index, part) in parts.enumerated() {
      let final = index + 1 == parts.count ? objective.parameters : []
      let counted =
        switch part {
        case .whole(let whole): try run(whole, factor, recording, final: final, isFinal)
        case .chunked(let chunked): try run(chunked, factor, recording, final: final, isFinal)
        }
      sums = zip(sums, counted).map { $0 + $1 }
    }
    return sums
  }

  private func run(
    _ whole: Whole, _ factor: Float, _ recording: Bool, final: [Variable], _ isFinal: (Variable) throws -> Void
  ) rethrows -> [PositionSums] {
    let tape = Tape(recording: recording, precision: precision)
    let context = objective.clock.measure(.draftForward) { whole.context.states(tape, network) }
    // Layer by layer, so that a layer's gradients are complete before those of the layers below it.
    return try run(
      whole.rows, whole.targets, { context.keys(tape, network, layer: $0) }, tape, factor, final: final, isFinal)
  }

  /// Computes a long conversation: the context's keys and values as leaves, then the chunks, then the backward pass of
  /// the context. Parameters below the keys get their last contribution from the context's backward pass, all others
  /// from that of the last chunk.
  private func run(
    _ chunked: Chunked, _ factor: Float, _ recording: Bool, final: [Variable], _ isFinal: (Variable) throws -> Void
  ) rethrows -> [PositionSums] {
    var sums = objective.noSums
    let keys = objective.clock.measure(.draftForward) {
      chunked.context.leaves(network, precision, wantingGradients: recording)
    }
    let below = network.contextParameters
    let above = final.filter { parameter in !below.contains { $0 === parameter } }
    for index in chunked.chunks.indices {
      let (rows, targets) = chunked.first ?? objective.laidOut(chunked, index)
      chunked.first = nil
      let tape = Tape(recording: recording, precision: precision)
      let isLast = index + 1 == chunked.chunks.count
      let counted = try run(rows, targets, { keys[$0] }, tape, factor, final: isLast ? above : [], isFinal)
      sums = zip(sums, counted).map { $0 + $1 }
      objective.tick()
    }
    guard recording else { return sums }
    try objective.clock.measure(.backward) {
      try chunked.context.backward(
        network, precision, from: keys, telling: final.isEmpty ? [] : below, isFinal: isFinal)
    }
    return sums
  }

  /// Runs the blocks over the context's keys and values of each layer, and their backward pass.
  private func run(
    _ rows: BlockRows, _ targets: TeacherTargets, _ keys: (Int) -> (k: Variable, v: Variable), _ tape: Tape,
    _ factor: Float, final: [Variable], _ isFinal: (Variable) throws -> Void
  ) rethrows -> [PositionSums] {
    let states = objective.clock.measure(.draftForward) {
      let x = network.outputs(rows, keys, tape, objective.tables)
      return network.normalized(tape, tape.gather(x, rows.counted))
    }
    let sums = objective.clock.measure(.headAndLoss) { losses(rows, targets, states, tape, factor) }
    try objective.clock.measure(.backward) { try tape.backward(telling: final, isFinal: isFinal) }
    return sums
  }

  /// Computes the losses, with their gradients into the states and the heads.
  private func losses(
    _ rows: BlockRows, _ targets: TeacherTargets, _ states: Variable, _ tape: Tape, _ factor: Float
  ) -> [PositionSums] {
    let weights = rows.slots.map { Float(objective.weight($0)) }
    let markov = network.markov(tape, before: rows.previous)
    var terms = [(x: states, w: network.lmHead(objective.tables))]
    if let markov, let head = network.markovHead { terms.append((markov, head)) }
    let hits = rows.teacher.map { targets.hit[Int($0)] }
    let counted = tape.softTargetRows(
      terms,
      SoftTargets(
        probabilities: targets.probabilities, coverage: targets.coverage, row: rows.teacher,
        contributes: hits.map { $0 >= 0 }, weights: weights, hit: hits,
        labels: rows.labels.map { objective.vocabulary.draftIDs[Int($0)] }),
      objective.settings.loss?.kind ?? network.shape.ownLoss, weight: factor)
    let confidence = network.confidence.map {
      tape.confidenceLoss(
        [states] + (markov.map { [$0] } ?? []), $0.w, $0.b, targets: counted.overlap, weights: weights, weight: factor)
    }
    var sums = objective.noSums
    for (i, slot) in rows.slots.enumerated() {
      sums[slot].rows += 1
      sums[slot].loss += Double(counted.loss[i]) + Double(confidence?[i] ?? 0)
      sums[slot].hits += Double(counted.hits[i])
      sums[slot].overlap += Double(counted.overlap[i])
    }
    return sums
  }
}

extension BlockNetwork {
  /// The last layer's output of all block rows over the context's keys and values of each layer: [R, H].
  func outputs(
    _ rows: BlockRows, _ keys: (Int) -> (k: Variable, v: Variable), _ tape: Tape, _ tables: TargetTables
  ) -> Variable {
    let table = rotary.table(positions: rows.positions)
    let links = rows.blockRows(size: shape.blockSize)
    var x = inputs(rows.tokens, tables)
    for (index, layer) in layers.enumerated() {
      let context = keys(index)
      let h = layer.normed(tape, x)
      let own = layer.keys(tape, h, table)
      let attended = tape.attention(
        layer.queries(tape, h, table), context.k, context.v, rows: rows.attention,
        chain: links.map { ChainLink(k: own.k, v: own.v, row: $0) }, group: shape.blockSize, shape: shape.attention)
      x = layer.finish(tape, residual: x, attended: attended)
    }
    return x
  }

  /// The normed states [B, H] of the block that follows a sequence, as training computes them in float32.
  ///
  /// - Parameters:
  ///   - auxHidden: captured states of the sequence, [N, n H]
  ///   - anchor: the token after it
  package func states(_ auxHidden: Tensor, anchor: Int32, _ tables: TargetTables) -> Tensor {
    let (tape, count) = (Tape(recording: false, precision: .fp32), auxHidden.rows)
    var rows = BlockRows()
    rows.add(
      BlockAnchors(positions: [count], slots: [0]), ids: [Int32](repeating: anchor, count: count + 1), shape: shape,
      firstKey: 0, teacherRow: { _ in 0 })
    let c = context(tape, auxHidden)
    let table = rotary.table(positions: (0..<count).map(Int32.init))
    let x = outputs(rows, { self.layers[$0].keys(tape, c, table) }, tape, tables)
    return normalized(tape, x).value
  }
}

/// Captured states of the first rows of conversations, concatenated.
struct BlockContext {
  private(set) var count = 0  // N
  private var states: [(tensor: Tensor, rows: Range<Int>)] = []
  private var positions: [Int32] = []

  /// The rows that are recomputed at a time for the backward pass of a long conversation.
  private static let rows = 512

  mutating func add(_ conversation: CapturedConversation, rows: Int) {
    states.append((conversation.auxHidden, 0..<rows))
    positions += (0..<rows).map(Int32.init)
    count += rows
  }

  /// The context features of some rows, from which the keys and values of each layer are computed.
  struct States {
    fileprivate let c: Variable
    fileprivate let table: Rotary.Table

    /// Keys and values of a layer, [N, kv · d] each.
    func keys(_ tape: Tape, _ network: BlockNetwork, layer: Int) -> (k: Variable, v: Variable) {
      network.layers[layer].keys(tape, c, table)
    }
  }

  func states(_ tape: Tape, _ network: BlockNetwork) -> States {
    features(tape, network, Rows.stacked(states), positions)
  }

  private func features(_ tape: Tape, _ network: BlockNetwork, _ states: Tensor, _ positions: [Int32]) -> States {
    States(
      c: network.context(tape, states.operand(tape.precision)), table: network.rotary.table(positions: positions))
  }

  /// The keys and values of each layer for some rows of the only conversation.
  private func keys(_ tape: Tape, _ network: BlockNetwork, _ range: Range<Int>) -> [(k: Variable, v: Variable)] {
    let part = features(tape, network, states[0].tensor.slice(range), Array(positions[range]))
    return (0..<network.shape.layers).map { part.keys(tape, network, layer: $0) }
  }

  /// The keys and values of each layer for the only conversation, as leaves: the computation below them is not
  /// recorded.
  func leaves(
    _ network: BlockNetwork, _ precision: ComputePrecision, wantingGradients: Bool
  ) -> [(k: Variable, v: Variable)] {
    let size = [count, network.shape.attention.keyWidth]
    let all = (0..<network.shape.layers).map { _ in (k: Tensor(size), v: Tensor(size)) }
    for range in ranges {
      let tape = Tape(recording: false, precision: precision)
      for (part, whole) in zip(keys(tape, network, range), all) {
        Elementwise.copy(part.k.value, into: whole.k.slice(range))
        Elementwise.copy(part.v.value, into: whole.v.slice(range))
      }
    }
    return all.map {
      (Variable($0.k, requiresGradient: wantingGradients), Variable($0.v, requiresGradient: wantingGradients))
    }
  }

  /// Propagates the gradients of the leaves to the parameters, a few rows at a time (activation checkpointing).
  func backward(
    _ network: BlockNetwork, _ precision: ComputePrecision, from leaves: [(k: Variable, v: Variable)],
    telling parameters: [Variable], isFinal: (Variable) throws -> Void
  ) rethrows {
    for range in ranges {
      let tape = Tape(recording: true, precision: precision)
      let parts = keys(tape, network, range)
      for (part, leaf) in zip(parts, leaves) {
        guard let dk = leaf.k.gradient, let dv = leaf.v.gradient else { preconditionFailure("keys without gradients") }
        tape.seed(part.k, with: dk.slice(range))
        tape.seed(part.v, with: dv.slice(range))
      }
      try tape.backward(telling: range.upperBound == count ? parameters : [], isFinal: isFinal)
    }
  }

  private var ranges: [Range<Int>] {
    stride(from: 0, to: count, by: Self.rows).map { $0..<min(count, $0 + Self.rows) }
  }
}
