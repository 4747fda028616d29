import EagleModels

/// The layouts in which heads are published as folders.
package enum HeadLayout: String, Sendable, CaseIterable {
  /// That of the EAGLE-3 release: `LlamaForCausalLMEagle3`, all keys at the top level.
  case eagle3
  /// That of speculators: `Eagle3Speculator`, `DSparkSpeculator` and `DFlashSpeculator`, the layer's keys under
  /// `transformer_layer_config`.
  case speculators
  /// That of DeepSpec's block drafters, `Qwen3DSparkModel`, and of DFlash's, `DFlashDraftModel`: a whole vocabulary.
  case deepspec
}

extension TargetShape {
  /// The longest text, in tokens, that a head's files state: that of the target's config, or with a rotary scaling,
  /// which may depend on it, the one that the head's rotary embedding is made for.
  func statedPositions(head maxPositions: Int, _ scaling: RotaryScaling?) -> Int {
    scaling == nil ? statedPositions : maxPositions
  }
}
