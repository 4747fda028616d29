import EagleTensor

// R batch rows · H hidden.

/// The states of a forward pass.
package struct TargetStates {
  /// Outputs of the captured layers, concatenated by columns, [R, nH] for n layers; nil when none were requested.
  package let auxHidden: Tensor?
  /// States after the final norm, which the head multiplies, [R, H].
  package let lastHidden: Tensor

  package init(auxHidden: Tensor?, lastHidden: Tensor) {
    self.auxHidden = auxHidden
    self.lastHidden = lastHidden
  }
}
