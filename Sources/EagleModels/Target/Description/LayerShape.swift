import EagleTensor

/// What one decoder layer computes, without its weights: sizes and the switches by which families differ.
package struct LayerShape: Sendable, Equatable {
  package var attention: AttentionShape
  /// The number of keys that a token sees, its own included; nil for all.
  package var window: Int?
  /// The rotary embedding of queries and keys; nil for none.
  package var rotary: RotaryShape?
  package var queryKeyNorm = QueryKeyNorm.none
  /// Whether each head has an attention sink: a logit in its softmax that weights no value.
  package var hasSinks = false
  package var biases = Biases()
  package var feedForward: FeedForwardShape
  /// Norms before a block (attention or feed-forward), after it, or both.
  package var norms = NormPlacement.before
  /// The factor of what a block adds to the residual stream.
  package var residualScale: Float = 1

  /// The norm of queries and keys.
  package enum QueryKeyNorm: String, Sendable {
    case none
    /// Of each head, with a weight [d].
    case perHead
    /// Over all heads together, with a weight [heads · d].
    case fullWidth
  }

  /// Which projections have biases.
  package struct Biases: Sendable, Equatable {
    package var queryKeyValue = false
    package var output = false
    package var feedForward = false
  }

  /// Where the norms of a block are.
  package enum NormPlacement: String, Sendable {
    /// x += f(norm(x))
    case before
    /// x += norm(f(x))
    case after
    /// x += norm(f(norm(x)))
    case around

    var isBefore: Bool { self != .after }
    var isAfter: Bool { self != .before }
  }
}

/// The feed-forward block of a layer.
package struct FeedForwardShape: Sendable, Equatable {
  /// M: its width, or that of one expert.
  package var intermediateSize: Int
  package var activation: GateActivation
  /// nil for a dense block.
  package var experts: ExpertShape?
}

/// A mixture of experts: each token goes to the `perToken` experts with the largest router logits.
package struct ExpertShape: Sendable, Equatable {
  /// E.
  package var count: Int
  package var perToken: Int
  /// Whether the weights of a token's experts sum to 1. Otherwise they are their probabilities among all experts.
  package var isNormalized: Bool
}
