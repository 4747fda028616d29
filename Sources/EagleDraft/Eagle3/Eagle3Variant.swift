import EagleAutograd
import EagleCore
import EagleTensor

// n captured layers · H_t hidden size of the target · d head dimension.

/// The switches by which a head departs from EAGLE-3; none of them is on by default.
package struct Eagle3Variant: Sendable, Equatable, Codable {
  /// The norm of the captured states before `fc`.
  package var featureNorm = FeatureNorm.none
  /// `norm_output` as speculators means it: g_{k+1} is the normed state, which feeds the next step and the LM head.
  package var feedsNormedState = false
  /// `norm_before_residual`: the residual stream starts from hidden_norm(g_k) instead of g_k.
  package var normsResidual = false
  /// Whether each head of q and k is normed before the rotary embedding, with a weight [d].
  package var normsQueryKey = false
  /// The number of keys that a row sees, its own included; nil for all.
  package var window: Int?
  package var embedding = DraftTable.target
  package var lmHead = DraftTable.own
  /// H_t, where the head has another hidden size.
  package var targetHiddenSize: Int?

  package init() {}

  /// The norms before `fc`.
  package enum FeatureNorm: String, Sendable, Codable {
    case none
    /// `norm_before_fc`: one norm over all captured states, with a weight [n H_t].
    case joint
    /// `fc_norm`: a norm of each captured state, with weights [H_t].
    case perState
  }

  /// The names of the switches that are on, as the field spells them.
  package var names: [String] {
    let flags: [(Bool, String)] = [
      (featureNorm == .joint, "norm_before_fc"), (featureNorm == .perState, "fc_norm"),
      (feedsNormedState, "norm_output"), (normsResidual, "norm_before_residual"), (normsQueryKey, "qk_norm"),
      (window != nil, "sliding_window"), (embedding == .own, "own embedding"),
      (lmHead == .target, "LM head of the target"),
      (targetHiddenSize != nil, "target_hidden_size"),
    ]
    return flags.filter(\.0).map(\.1)
  }
}
