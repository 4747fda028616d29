import EagleDraft
import EagleModels
import EagleTensor

// H hidden · M MLP · V target vocabulary · R rows.

/// Operations of the target that an optimiser step adds to the head's where states are captured online.
package struct OnlineOperations: Sendable {
  /// Of all layers, for a context row.
  private let perContextRow: Double
  /// Of the LM head, for a trained row: a store has what it gives.
  private let perRow: Double

  package init(_ target: TargetShape) {
    perContextRow = NeededOperations.capture(target, lengths: [1], hasHead: false)
    perRow = 2 * Double(target.hiddenSize) * Double(target.vocabularySize)
  }

  /// Adds them to the work of a conversation.
  package func add(to work: inout ConversationWork) {
    work.perContextRow += perContextRow
    work.perRow += perRow
  }
}

/// Floating-point operations of matrix products and attention that the contract asks for: a product of [R, I] with
/// [O, I] is 2 R I O of them. Work that a program does beyond these (rows that nobody trains, recomputation) is not
/// counted, so that a peak ratio speaks of useful work.
package enum NeededOperations {
  /// Capture of conversations: all layers, causal attention, and the head for every token.
  ///
  /// - Parameter hasHead: whether the LM head is among them
  package static func capture(_ shape: TargetShape, lengths: [Int], hasHead: Bool = true) -> Double {
    let head = hasHead ? 2 * Double(shape.hiddenSize) * Double(shape.vocabularySize) : 0
    let all = Double(lengths.reduce(0, +))
    return shape.layerShapes.reduce(all * head) { sum, layer in
      let attended = lengths.reduce(0) { $0 + attention(layer.attention, keys: causal($1, window: layer.window)) }
      return sum + all * products(layer, hiddenSize: shape.hiddenSize) + attended
    }
  }

  /// The matrix products of a layer for one token: with experts, those of the router and of the token's experts.
  private static func products(_ layer: LayerShape, hiddenSize: Int) -> Double {
    let (h, m) = (Double(hiddenSize), Double(layer.feedForward.intermediateSize))
    let (q, kv) = (Double(layer.attention.queryWidth), Double(layer.attention.keyWidth))
    let experts = layer.feedForward.experts.map { (used: Double($0.perToken), router: 2 * h * Double($0.count)) }
    return 2 * h * (q + 2 * kv) + 2 * q * h + 6 * h * m * (experts?.used ?? 1) + (experts?.router ?? 0)
  }

  /// Two products of head dimension d for each (query row, key row) pair and head.
  private static func attention(_ shape: AttentionShape, keys pairs: Double) -> Double {
    4 * Double(shape.queryWidth) * pairs
  }

  /// 1 + 2 + … + length, each at most `window`.
  private static func causal(_ length: Int, window: Int? = nil) -> Double {
    let rising = Double(min(length, window ?? length))
    return rising * (rising + 1) / 2 + (Double(length) - rising) * rising
  }
}
