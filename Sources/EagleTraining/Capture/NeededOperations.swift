import EagleDraft
import EagleModels
import EagleTensor

// H hidden · M MLP · V target vocabulary · R rows.

/// Operations of the target that online capture adds to an optimiser step of the head.
package struct OnlineOperations: Sendable {
  /// Operations of all layers for a context row.
  private let perContextRow: Double
  /// Operations of the LM head for a trained row. A store contains its results.
  private let perRow: Double

  package init(_ target: TargetShape) {
    perContextRow = NeededOperations.capture(target, lengths: [1], hasHead: false)
    perRow = 2 * Double(target.hiddenSize) * Double(target.vocabularySize)
  }

  /// Adds these operations to the work of a conversation.
  package func add(to work: inout ConversationWork) {
    work.perContextRow += perContextRow
    work.perRow += perRow
  }
}

/// The minimum floating-point operations of GEMMs and attention: a GEMM of [R, I] with [O, I] has 2 R I O. Additional
/// work of a program (untrained rows, recomputation) is not counted, so that a ratio to the peak measures useful work.
package enum NeededOperations {
  /// Capture of conversations: all layers, causal attention, and the head for every token.
  ///
  /// - Parameter hasHead: whether the LM head is included
  package static func capture(_ shape: TargetShape, lengths: [Int], hasHead: Bool = true) -> Double {
    let head = hasHead ? 2 * Double(shape.hiddenSize) * Double(shape.vocabularySize) : 0
    let all = Double(lengths.reduce(0, +))
    return shape.layerShapes.reduce(all * head) { sum, layer in
      let attended = lengths.reduce(0) { $0 + attention(layer.attention, keys: causal($1, window: layer.window)) }
      return sum + all * products(layer, hiddenSize: shape.hiddenSize) + attended
    }
  }

  /// The GEMMs of a layer for one token; with experts, those of the router and of the token's experts.
  private static func products(_ layer: LayerShape, hiddenSize: Int) -> Double {
    let (h, m) = (Double(hiddenSize), Double(layer.feedForward.intermediateSize))
    let (q, kv) = (Double(layer.attention.queryWidth), Double(layer.attention.keyWidth))
    let experts = layer.feedForward.experts.map { (used: Double($0.perToken), router: 2 * h * Double($0.count)) }
    return 2 * h * (q + 2 * kv) + 2 * q * h + 6 * h * m * (experts?.used ?? 1) + (experts?.router ?? 0)
  }

  /// Two dot products of head dimension d for each (query row, key row) pair and head.
  private static func attention(_ shape: AttentionShape, keys pairs: Double) -> Double {
    4 * Double(shape.queryWidth) * pairs
  }

  /// 1 + 2 + … + length, each at most `window`.
  private static func causal(_ length: Int, window: Int? = nil) -> Double {
    let rising = Double(min(length, window ?? length))
    return rising * (rising + 1) / 2 + (Double(length) - rising) * rising
  }
}
