import EagleModels
import EagleTensor

// N prefix rows · R_k trained rows of depth k · S teacher positions · H hidden · n captured layers · M MLP · Q heads ·
// d · kv key heads · d · D draft vocabulary · K depths.

/// The bytes that EAGLE-3's objective needs in addition to weights, gradients and moments: what its ops keep for the
/// backward pass, op by op, and their largest temporary results. Also its operations.
package struct Eagle3Costs: ObjectiveCosts {
  private let shape: Eagle3Shape
  private let depths: Int  // K
  /// The share of all rows that an epoch trains at each depth, [K].
  private let shares: [Double]
  private let chunking: ObjectiveSettings.Chunking
  /// Widths of float32 rows. The operand of a matmul also has a bfloat16 copy, of `rounded` floats per element.
  private let h, m, q, kv, d: Double
  /// The decoder layers.
  private let layers: Double
  /// n H_t, and H_t more for the last state.
  private let features, states: Double
  /// What norms before `fc` keep of a row: the states in float32, normed, rounded, and the gradient.
  private let normed: Double
  private let rounded: Double

  package var positions: Int { depths }

  package init(_ shape: Eagle3Shape, _ settings: ObjectiveSettings) {
    (self.shape, depths, chunking) = (shape, settings.tttLength, settings.chunking)
    shares = (0..<settings.tttLength).map { (0..<$0).reduce(1.0) { share, _ in share * settings.tttShare } }
    (h, m) = (Double(shape.hiddenSize), Double(shape.intermediateSize))
    (q, kv) = (Double(shape.attention.queryWidth), Double(shape.attention.keyWidth))
    (d, layers) = (Double(shape.draftVocabularySize), Double(shape.layers))
    (features, states) = (Double(shape.featureWidth), Double(shape.featureWidth + shape.targetHiddenSize))
    normed =
      shape.variant.featureNorm == .none ? 0 : (3 + (Matmul.takesBFloat16(settings.precision) ? 0.5 : 0)) * features
    rounded = Matmul.takesBFloat16(settings.precision) ? 0.5 : 0
  }

  /// The largest of these micro-batches of loss masks.
  package func largest(_ microBatches: [[[UInt8]]]) -> ObjectiveBytes {
    microBatches.map(bytes).max { $0.total < $1.total } ?? ObjectiveBytes()
  }

  private func bytes(of masks: [[UInt8]]) -> ObjectiveBytes {
    let all = masks.map { TrainedRows(mask: $0, depths: depths) }
    let short = all.filter { $0.prefixCount <= chunking.longestWhole }
    let tokens = Double(masks.reduce(0) { $0 + $1.count })
    var bytes = ObjectiveBytes(conversations: 2 * states * tokens)
    let whole = (0..<depths).map { k in short.reduce(0) { $0 + $1.count(depth: k) } }
    bytes.activations = activations(
      whole, laidOut: short.reduce(0) { $0 + $1.prefixCount }, keys: short.map(\.prefixCount).max() ?? 0)
    for long in all where long.prefixCount > chunking.longestWhole {
      bytes.conversations += 16 * layers * kv * Double(long.prefixCount)
      for chunk in long.chunks(of: chunking.rows) {
        bytes.activations = max(
          bytes.activations, activations(chunk.trained, laidOut: chunk.trained[0], keys: chunk.rows.upperBound))
      }
      bytes.activations = max(bytes.activations, prefixActivations(long.prefixCount))
    }
    return bytes
  }

  /// - Parameters:
  ///   - trained: R_k without a sample
  ///   - laidOut: rows whose h is computed: N of whole conversations, R_0 of a chunk
  ///   - keys: most keys that a row attends to
  private func activations(_ trained: [Int], laidOut: Int, keys: Int) -> Double {
    let rows = zip(trained, shares).map { Double($0) * $1 }
    guard let first = rows.first, first > 0 else { return 0 }
    let later = rows.dropFirst().reduce(0, +)
    let teacher = (first + Double(depths)) * d  // distributions, [S, D]
    let upper = layers - 1
    let last = layers == 1 ? 2 * h : h
    return 4
      * (Double(laidOut) * laidOutRow + first * (h + layerRow(width: last) + headRow)
        + later * (h + layerRow(width: 2 * h) + upper * (layerRow(width: h) + 2 * kv) + headRow + chainKeys) + teacher
        + temporary(first, layers == 1 ? first : Double(laidOut), keys))
  }

  /// The backward pass of a long conversation's keys: rows of the prefix, a chunk at a time.
  private func prefixActivations(_ count: Int) -> Double {
    let rows = Double(min(count, chunking.rows))
    return 4 * (rows * laidOutRow + (layers == 1 ? 0 : temporary(0, rows, count)))
  }

  /// A row of the prefix, which passes all layers but the last.
  private var laidOutRow: Double { prefixRow + (layers - 1) * (layerRow(width: h) + 2 * kv) }

  /// States, in bfloat16 or widened for products, g, the embedding, h and its operand, keys, values.
  private var prefixRow: Double {
    (rounded > 0 ? 0.5 : 1.5) * features + normed + h + h + 2 * (1 + rounded) * h + 2 * kv
  }

  /// A layer's h of this width, queries, attention's result, a, its norm, gate, up and their product, and the output.
  private func layerRow(width: Double) -> Double {
    let narrow = 1 + rounded
    return narrow * width + q + narrow * q + h + narrow * h + (2 + narrow) * m + h
  }

  /// The norm of g that the LM head multiplies, and its gradient.
  private var headRow: Double { (1 + rounded) * h + h }

  /// Depth k > 0: the embedding, and the first layer's own keys and values.
  private var chainKeys: Double { h + 2 * kv }

  /// Logits of 512 trained rows with their gradient; gradients of the MLP's three for all rows of a layer; keys' and
  /// values' for each query head; scores of blocks of rows, in every size up to the largest.
  private func temporary(_ trained: Double, _ rows: Double, _ keys: Int) -> Double {
    min(512, trained) * d * (1 + rounded) + 3 * rows * m + 2 * Double(min(keys, 1024)) * q
      + 2 * 96 * Double(keys * Parallel.threadCount)
  }

  // MARK: operations

  /// One optimiser step: forward, and twice as much in the backward pass wherever both gradients are wanted.
  ///
  /// - Parameter masks: the loss mask of each conversation
  package func operations(masks: [[UInt8]]) -> Double {
    masks.reduce(0) { $0 + operations(TrainedRows(mask: $1, depths: depths)) }
  }

  private func operations(_ trained: TrainedRows) -> Double {
    Double(trained.teacherPositions.count) * teacherRow
      + Double(trained.prefixCount) * contextRow(prefix: trained.prefixCount)
      + Double(trained.count(depth: 0)) * chunkRow(prefix: trained.prefixCount)
      + operations(RowChunk(trained, rows: 0..<trained.prefixCount, window: shape.variant.window))
  }

  private var teacherRow: Double { 2 * Double(shape.targetHiddenSize) * Double(shape.draftVocabularySize) }

  /// A row of the prefix: the keys of all layers, and the layers below the last. fc has no input gradient: the captured
  /// states are frozen. In chunks, the layers below are computed once forward, and with the backward pass for each layer
  /// above them.
  ///
  /// - Parameter count: the rows of the prefix; a part of the conversation that needs fewer is taken for the same
  private func contextRow(prefix count: Int) -> Double {
    let times = count > chunking.longestWhole ? 1 + 3 * layers / 2 : 3
    return 2 * 2 * Double(shape.featureWidth) * h + 3 * (keys(width: 2 * h) + (layers - 1) * keys(width: h))
      + times * lowerLayers(prefix: count)
  }

  /// What a trained row of a chunk computes again: the layers below the last, forward and backward.
  private func chunkRow(prefix count: Int) -> Double {
    count > chunking.longestWhole ? 3 * lowerLayers(prefix: count) : 0
  }

  /// A row in all layers but the last, forward. It sees half of the prefix in the mean, or a window.
  private func lowerLayers(prefix count: Int) -> Double {
    guard layers > 1 else { return 0 }
    let seen = min(Double(count + 1) / 2, shape.variant.window.map(Double.init) ?? .infinity)
    // The backward pass of attention has 2.5 times the operations of the forward pass, that of a product twice.
    return row(width: 2 * h) + (layers - 2) * row(width: h)
      + 3.5 / 3 * (layers - 1) * attention(shape.attention, keys: seen)
  }

  /// Keys and values of a row from an input of this width, forward.
  private func keys(width: Double) -> Double { 2 * width * 2 * kv }

  /// Queries from an input of this width, the output projection and the MLP, forward.
  private func row(width: Double) -> Double { 2 * width * q + 2 * q * h + 6 * h * m }

  package func work(mask: [UInt8], samples: Bool) -> ConversationWork {
    let trained = TrainedRows(mask: mask, depths: depths)
    let counts = (0..<depths).map { Double(trained.count(depth: $0)) * (samples ? shares[$0] : 1) }
    let rows = max(1, counts.first ?? 0)
    let matrices = counts.enumerated().reduce(0) { $0 + $1.element * (3 * products(depth: $1.offset) + head) }
    let attending = counts.enumerated().reduce(0) { $0 + $1.element * attentions(depth: $1.offset) }
    return ConversationWork(
      positions: trained.spans.map { TrainedRows.rows(of: $0, depth: 0) },
      perRow: teacherRow + chunkRow(prefix: trained.prefixCount) + matrices / rows,
      perKey: 3.5 * attention(shape.attention, keys: attending / rows),
      perContextRow: contextRow(prefix: trained.prefixCount), window: shape.variant.window)
  }

  /// The operations of all depths of some rows of a conversation, as many of them as an epoch trains: the part that is
  /// proportional to trained rows and to the keys that they see. `chunk` counts all rows, without a sample.
  package func operations(_ chunk: RowChunk) -> Double {
    chunk.trained.indices.reduce(0) { sum, k in
      // The backward pass of attention recomputes the scores: it has 5 products, the forward pass 2.
      sum
        + shares[k]
        * (Double(chunk.trained[k]) * (3 * products(depth: k) + head)
          + 3.5 * attentions(depth: k) * attention(shape.attention, keys: Double(chunk.attended[k])))
    }
  }

  /// Matrix products of a trained row, forward, without the LM head. At depth 0, keys and the layers before the last
  /// belong to the prefix.
  private func products(depth k: Int) -> Double {
    if k == 0 { return row(width: layers == 1 ? 2 * h : h) }
    return row(width: 2 * h) + keys(width: 2 * h) + (layers - 1) * (row(width: h) + keys(width: h))
  }

  /// The layers in which a trained row attends: at depth 0 the last one, since the others belong to the prefix.
  private func attentions(depth k: Int) -> Double { k == 0 ? 1 : layers }

  /// Products of a row with the LM head, forward and backward. The target's gets no gradient.
  private var head: Double { (shape.sharesLMHead ? 2 : 3) * 2 * h * d }

  /// Two products of head dimension d for each (query row, key row) pair and head.
  private func attention(_ shape: AttentionShape, keys pairs: Double) -> Double {
    4 * Double(shape.queryWidth) * pairs
  }
}
