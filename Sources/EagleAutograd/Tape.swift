import EagleTensor

/// Records what each op has to do on the way back, and does it in reverse order.
///
/// The same model code runs without recording when it decodes.
public final class Tape {
  public let isRecording: Bool
  /// How the products of this pass are computed.
  public let products: Products
  private var steps: [() -> Void] = []

  public init(recording: Bool, products: Products) {
    isRecording = recording
    self.products = products
  }

  /// The result of an op on `inputs`. `backward` gets the result's gradient, in a buffer that nobody else needs. Nothing is
  /// kept when no input wants a gradient.
  package func result(_ value: Tensor, of inputs: [Variable], backward: @escaping (Tensor) -> Void) -> Variable {
    let tracked = isRecording && inputs.contains { $0.requiresGradient }
    let output = Variable(value, requiresGradient: tracked)
    if tracked {
      steps.append {
        // A result that nothing depended on has no gradient to pass on.
        guard let gradient = output.gradient else { return }
        output.clearGradient()
        backward(gradient)
      }
    }
    return output
  }

  /// Runs the recorded steps backwards, once. Gradients of parameters are added to what they hold.
  public func backward() {
    while let step = steps.popLast() { step() }
  }

  /// Gives `variable` this gradient to start from.
  public func seed(_ variable: Variable, with gradient: Tensor) {
    precondition(gradient.shape == variable.shape, "seed \(gradient.shape) for \(variable.shape)")
    variable.addGradient { buffer, accumulate in
      if accumulate { Elementwise.accumulate(gradient, into: buffer) } else { Elementwise.copy(gradient, into: buffer) }
    }
  }
}
