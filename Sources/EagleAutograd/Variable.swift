import EagleTensor

/// A value in a computation and, once the backward pass has reached it, the gradient of the loss with respect to it.
public final class Variable {
  public let value: Tensor
  public let requiresGradient: Bool
  /// float32, the shape of `value`; nil until something has been added.
  public private(set) var gradient: Tensor?

  public init(_ value: Tensor, requiresGradient: Bool = false) {
    self.value = value
    self.requiresGradient = requiresGradient
  }

  public var shape: [Int] { value.shape }

  /// The gradient to add to, zero at first. Nil when no gradient is wanted.
  package func gradientToAccumulate() -> Tensor? {
    guard requiresGradient else { return nil }
    if let gradient { return gradient }
    let zeros = Tensor.zeros(shape)
    gradient = zeros
    return zeros
  }

  /// Forgets the gradient.
  public func clearGradient() { gradient = nil }

  /// Uses this buffer as the gradient; what is in it counts.
  public func adoptGradient(_ buffer: Tensor) {
    precondition(buffer.shape == shape && buffer.dtype == .float32, "gradient \(buffer.shape) for \(shape)")
    gradient = buffer
  }
}
