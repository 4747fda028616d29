import EagleModels
import EagleTensor

// N context rows · R block rows · C counted proposals · S teacher positions · H hidden · n captured layers · M MLP ·
// Q heads · d · kv key heads · d · D draft vocabulary · L layers · r Markov rank.

/// What the objective of block drafters takes in addition to weights, gradients and moments: bytes, op by op, and
/// operations.
package struct BlockCosts: ObjectiveCosts {
  private let shape: BlockShape
  private let settings: ObjectiveSettings
  private let h, m, q, kv, d, r: Double
  /// The size of the bfloat16 copy of an operand, in floats per element; 0 without a copy.
  private let rounded: Double

  package var positions: Int { shape.proposals }

  init(_ shape: BlockShape, _ settings: ObjectiveSettings) {
    (self.shape, self.settings) = (shape, settings)
    (h, m) = (Double(shape.hiddenSize), Double(shape.intermediateSize))
    (q, kv) = (Double(shape.attention.queryWidth), Double(shape.attention.keyWidth))
    (d, r) = (Double(shape.draftVocabularySize), Double(shape.markovRank))
    rounded = Matmul.takesBFloat16(settings.precision) ? 0.5 : 0
  }

  /// Sizes of one conversation's work.
  private struct Work {
    var context = 0.0  // N
    var anchors = 0.0
    var counted = 0.0  // C
    var teacher = 0.0  // S
    /// The sum over all anchors of the context rows that each sees.
    var seen = 0.0
  }

  /// The work of a conversation, scaled to the share of its anchors that an epoch trains.
  private func work(_ mask: [UInt8]) -> Work {
    let all = BlockAnchors(mask: mask, proposals: shape.proposals)
    let count = Double(all.positions.count)
    let share = count == 0 ? 0 : min(settings.anchorShare, Double(settings.anchorLimit) / count)
    let counted = Double(all.slots.reduce(0, +))
    return Work(
      context: Double(all.positions.last ?? 0), anchors: share * count, counted: share * counted,
      teacher: min(Double(BlockRows.teacherPositions(all).count), share * counted),
      seen: share * Double(all.positions.reduce(0, +)))
  }

  package func largest(_ microBatches: [[[UInt8]]]) -> ObjectiveBytes {
    microBatches.map(bytes).max { $0.total < $1.total } ?? ObjectiveBytes()
  }

  private func bytes(of masks: [[UInt8]]) -> ObjectiveBytes {
    let states = Double(shape.featureWidth + shape.hiddenSize)
    var bytes = ObjectiveBytes(conversations: 2 * states * Double(masks.reduce(0) { $0 + $1.count }))
    var short = Work()
    let most = Double(BlockObjective.rowLimit(shape, settings) / shape.blockSize)  // anchors of a pass
    for work in masks.map(work) {
      guard work.context > Double(settings.chunking.longestWhole) || work.anchors > most else {
        (short.context, short.anchors) = (short.context + work.context, short.anchors + work.anchors)
        (short.counted, short.teacher) = (short.counted + work.counted, short.teacher + work.teacher)
        continue
      }
      bytes.conversations += 16 * kv * Double(shape.layers) * work.context
      let part = min(1, most / max(1, work.anchors))
      bytes.activations = max(
        bytes.activations,
        activations(
          Work(
            context: 512, anchors: part * work.anchors, counted: part * work.counted, teacher: part * work.teacher),
          keys: work.context))
    }
    let part = min(1, most / max(1, short.anchors))
    short = Work(
      context: part * short.context, anchors: part * short.anchors, counted: part * short.counted,
      teacher: short.teacher)
    bytes.activations = max(bytes.activations, activations(short, keys: short.context))
    return bytes
  }

  private func activations(_ work: Work, keys: Double) -> Double {
    guard work.anchors > 0 else { return 0 }
    let (narrow, rows, layers) = (1 + rounded, work.anchors * Double(shape.blockSize), Double(shape.layers))
    let features = (rounded > 0 ? 0.5 : 1.5) * Double(shape.featureWidth)
    // fc's result, its norm, and keys before and after their norm and rotation, and values.
    let context = work.context * (features + h + narrow * h + layers * 4 * kv)
    // Input, norm, queries and keys before and after their norm, values, attention's result, its sum, the norm of that,
    // gate, up, their product.
    let row = h + narrow * h + 3 * q + 4 * kv + narrow * q + h + narrow * h + (2 + narrow) * m
    let heads = work.counted * (3 * narrow * h + 2 * narrow * r)
    let temporary =
      min(512, work.counted) * d * narrow + 3 * rows * m + 2 * min(keys, 1024) * q
      + 2 * 96 * (keys + Double(shape.blockSize)) * Double(Parallel.threadCount)
    return 4 * (context + rows * layers * row + heads + work.teacher * d + temporary)
  }

  /// Forward, and twice as much in the backward pass wherever both gradients are wanted.
  package func operations(masks: [[UInt8]]) -> Double { masks.reduce(0) { $0 + operations(work($1)) } }

  private func operations(_ work: Work) -> Double {
    work.teacher * 2 * h * d + work.context * contextRow + work.seen * perKey + work.anchors * anchor
      + work.counted * head
  }

  /// fc has no input gradient: the captured states are frozen.
  private var contextRow: Double { 2 * 2 * Double(shape.featureWidth) * h + layers * 3 * 2 * 2 * h * kv }

  /// A context row for all rows of a block. The backward pass of attention recomputes the scores: it has 5 products,
  /// the forward pass 2.
  private var perKey: Double { layers * 3.5 * 4 * q * Double(shape.blockSize) }

  /// The rows of a block, without their attention to the context.
  private var anchor: Double {
    let layer = 2 * h * (q + 2 * kv) + 2 * q * h + 6 * h * m
    return Double(shape.blockSize) * (layers * 3 * layer + perKey)
  }

  /// A counted proposal.
  private var head: Double { 2 * d * ((shape.lmHead == .own ? 3 : 2) * h + 3 * r) }

  private var layers: Double { Double(shape.layers) }

  package func work(mask: [UInt8], samples: Bool) -> ConversationWork {
    let all = BlockAnchors(mask: mask, proposals: shape.proposals)
    let rows = all.sampledCount(share: samples ? settings.anchorShare : 1, limit: settings.anchorLimit)
    let counted = Double(all.slots.reduce(0, +)) / Double(max(1, all.positions.count))
    return ConversationWork(
      positions: Rows.runs(all.positions), rows: rows, perRow: anchor + counted * (head + 2 * h * d), perKey: perKey,
      perContextRow: contextRow)
  }
}
