import EagleModels
import EagleTensor

extension TargetModel {
  /// The most likely next token after each row of states [R, H], batch-invariant.
  func bestTokens(_ lastHidden: Tensor) -> [Int32] { logits(lastHidden, .invariant).argmax().map(Int32.init) }
}
