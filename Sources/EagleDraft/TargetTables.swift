import EagleAutograd
import EagleModels
import EagleTensor

// H_t hidden size of the target · V target vocabulary · D draft vocabulary.

/// The target's tables of tokens, which a head shares.
package struct TargetTables {
  /// [V, H_t]
  package let embedding: Tensor
  /// The target's LM head for the draft ids, [D, H_t]; nil where the head has its own.
  package let lmHead: Variable?

  package init(embedding: Tensor, lmHead: Tensor? = nil) {
    (self.embedding, self.lmHead) = (embedding, lmHead.map { Variable($0) })
  }

  /// The same tables as training multiplies them: blocks become float32.
  package var widened: TargetTables {
    TargetTables(embedding: embedding, lmHead: lmHead.map { $0.value.dtype.isBlocks ? $0.value.float32() : $0.value })
  }
}
