import EagleModels
import EagleTensor
import EagleText
import EagleTraining

// N prefix rows · R_k trained rows of depth k · S teacher positions · H hidden · n captured layers · M MLP · Q heads · d · kv key heads · d
// · D draft vocabulary · K depths.

/// Bytes that the objective needs beside weights, gradients and moments: what its ops keep for the backward pass, op by
/// op, and their largest temporary results.
package struct ObjectiveMemory {
  private let depths: Int  // K
  private let chunking: Objective.Chunking
  /// Sizes of a float32 row; `rounded` ones have a bfloat16 copy beside them as an operand of products.
  private let h, m, q, kv, d: Double
  /// n H_t, and H_t more for the last state.
  private let features, states: Double
  /// What norms before `fc` keep of a row: the states in float32, normed, rounded, and the gradient.
  private let normed: Double
  private let rounded: Double

  package init(_ shape: DraftShape, _ config: TrainConfig, chunking: Objective.Chunking = .standard) {
    (depths, self.chunking) = (config.tttLength, chunking)
    (h, m) = (Double(shape.hiddenSize), Double(shape.intermediateSize))
    (q, kv) = (Double(shape.attention.queryWidth), Double(shape.attention.keyWidth))
    d = Double(shape.draftVocabularySize)
    (features, states) = (Double(shape.featureWidth), Double(shape.featureWidth + shape.targetHiddenSize))
    normed =
      shape.variant.featureNorm == .none ? 0 : (3 + (Matmul.takesBFloat16(config.precision) ? 0.5 : 0)) * features
    rounded = Matmul.takesBFloat16(config.precision) ? 0.5 : 0
  }

  /// What one micro-batch needs.
  package struct Bytes: Sendable, Equatable {
    /// Bytes of recorded rows and temporary results: bounded by the size of a micro-batch or chunk.
    package var activations = 0.0
    /// States that were read, and a chunked conversation's keys and values with their gradients: grows with its length.
    package var conversations = 0.0

    package init(activations: Double = 0, conversations: Double = 0) {
      (self.activations, self.conversations) = (activations, conversations)
    }

    package var total: Double { activations + conversations }
  }

  /// The largest of these micro-batches of loss masks.
  package func largest(_ microBatches: [[[UInt8]]]) -> Bytes {
    microBatches.map(bytes).max { $0.total < $1.total } ?? Bytes()
  }

  private func bytes(of masks: [[UInt8]]) -> Bytes {
    let all = masks.map { TrainedRows(mask: $0, depths: depths) }
    let short = all.filter { $0.prefixCount <= chunking.longestWhole }
    let tokens = Double(masks.reduce(0) { $0 + $1.count })
    var bytes = Bytes(conversations: 2 * states * tokens)
    let whole = (0..<depths).map { k in short.reduce(0) { $0 + $1.count(depth: k) } }
    bytes.activations = activations(
      whole, laidOut: short.reduce(0) { $0 + $1.prefixCount }, keys: short.map(\.prefixCount).max() ?? 0)
    for long in all where long.prefixCount > chunking.longestWhole {
      bytes.conversations += 16 * kv * Double(long.prefixCount)
      for chunk in long.chunks(of: chunking.rows) {
        bytes.activations = max(
          bytes.activations, activations(chunk.trained, laidOut: chunk.trained[0], keys: chunk.rows.upperBound))
      }
    }
    return bytes
  }

  /// - Parameters:
  ///   - trained: R_k
  ///   - laidOut: rows whose h is computed: N of whole conversations, R_0 of a chunk
  ///   - keys: most keys that a row attends to
  private func activations(_ trained: [Int], laidOut: Int, keys: Int) -> Double {
    let rows = trained.map(Double.init)
    guard let first = rows.first, first > 0 else { return 0 }
    let later = rows.dropFirst().reduce(0, +)
    let teacher = (first + Double(depths)) * d  // distributions, [S, D]
    return 4
      * (Double(laidOut) * prefixRow + first * depthRow + later * (depthRow + chainKeys) + teacher
        + temporary(first, keys))
  }

  /// States, in bfloat16 or widened for products, g, the embedding, h and its operand, keys, values.
  private var prefixRow: Double {
    (rounded > 0 ? 0.5 : 1.5) * features + normed + h + h + 2 * (1 + rounded) * h + 2 * kv
  }

  /// g, h, queries, attention's result, a, its norm, gate, up and their product, the next g, its norm and the gradient
  /// of that.
  private var depthRow: Double {
    let narrow = 1 + rounded
    return h + 2 * narrow * h + q + narrow * q + h + narrow * h + (2 + narrow) * m + h + narrow * h + h
  }

  /// Depth k > 0: the embedding, and the rows' own keys and values.
  private var chainKeys: Double { h + 2 * kv }

  /// Logits of 512 rows with their gradient; gradients of the MLP's three; keys' and values' for each query head;
  /// scores of blocks of rows, in every size up to the largest.
  private func temporary(_ rows: Double, _ keys: Int) -> Double {
    min(512, rows) * d * (1 + rounded) + 3 * rows * m + 2 * Double(min(keys, 1024)) * q
      + 2 * 96 * Double(keys * Parallel.threadCount)
  }
}
