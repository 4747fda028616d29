import EagleTensor

/// A value in a computation and, once the backward pass has reached it, the gradient of the loss with respect to it.
package final class Variable {
  package let value: Tensor
  package let requiresGradient: Bool
  /// float32, the shape of `value`; nil until something has been added.
  package private(set) var gradient: Tensor?
  private var narrow: Tensor?

  package init(_ value: Tensor, requiresGradient: Bool = false) {
    self.value = value
    self.requiresGradient = requiresGradient
  }

  package var shape: [Int] { value.shape }

  /// The value as matmuls of this mode take it: rounded to bfloat16 for those that do, once for all of them.
  func operand(_ mode: MatmulMode) -> Tensor {
    guard Matmul.takesBFloat16(mode), value.dtype == .float32 || value.dtype == .float16 else { return value }
    let operand = narrow ?? value.bfloat16()
    narrow = operand
    return operand
  }

  /// Forgets the rounded copy: the value's elements have been overwritten.
  package func valueHasChanged() { narrow = nil }

  /// Lets `write` add to the gradient. When there is none yet, `accumulate` is false and the buffer is to be
  /// overwritten. Nothing happens when no gradient is required.
  package func addGradient(_ write: (_ buffer: Tensor, _ accumulate: Bool) -> Void) {
    guard requiresGradient else { return }
    if let gradient { return write(gradient, true) }
    let buffer = Tensor(shape)
    gradient = buffer
    write(buffer, false)
  }

  /// Adds `dy`, which no other code uses: it becomes the gradient when there is none.
  package func addGradient(giving dy: Tensor) {
    precondition(dy.count == value.count, "gradient \(dy.shape) for \(shape)")
    guard requiresGradient else { return }
    if let gradient {
      Elementwise.accumulate(dy, into: gradient)
    } else {
      gradient = dy.reshaped(shape)
    }
  }

  /// Forgets the gradient.
  package func clearGradient() { gradient = nil }

  /// Uses this buffer as the gradient, with its present content.
  package func adoptGradient(_ buffer: Tensor) {
    precondition(buffer.shape == shape && buffer.dtype == .float32, "gradient \(buffer.shape) for \(shape)")
    gradient = buffer
  }
}
