import EagleCore
import EagleTensor

/// Records the backward pass of each op, and runs it in reverse order.
///
/// The same model code runs without recording when it decodes.
package final class Tape {
  package let isRecording: Bool
  /// The precision of the matmuls of this pass.
  package let precision: ComputePrecision
  /// The kernels of the forward matmuls of this pass.
  let mode: MatmulMode
  /// The backward passes of the recorded ops. Each returns the variables whose gradients it has added to.
  private var steps: [() -> [Variable]] = []
  /// The steps that may still add to a variable's gradient.
  private var uses: [ObjectIdentifier: Int] = [:]

  /// A tape of a pass over many rows: training, and the prefill of a draft head.
  package init(recording: Bool, precision: ComputePrecision) {
    isRecording = recording
    self.precision = precision
    mode = .gemm(precision)
  }

  /// A tape of decoding passes, which records nothing: a row's bits do not depend on the other rows.
  package init(decoding precision: ComputePrecision) {
    isRecording = false
    self.precision = precision
    mode = .batchInvariant(precision)
  }

  /// The result of an op on `inputs`. `backward` gets the result's gradient, in a buffer that no other code uses.
  /// Nothing is recorded when no input requires a gradient.
  package func result(_ value: Tensor, of inputs: [Variable], backward: @escaping (Tensor) -> Void) -> Variable {
    let tracked = isRecording && inputs.contains { $0.requiresGradient }
    let output = Variable(value, requiresGradient: tracked)
    if tracked {
      let changed = inputs.filter(\.requiresGradient)
      for input in changed { uses[ObjectIdentifier(input), default: 0] += 1 }
      steps.append {
        // A result that nothing depended on has no gradient to pass on.
        if let gradient = output.gradient {
          output.clearGradient()
          backward(gradient)
        }
        return changed
      }
    }
    return output
  }

  /// Runs the recorded steps backwards, once. Gradients of parameters are added to what they hold.
  package func backward() { backward(telling: []) { _ in } }

  /// Runs the recorded steps backwards, once, and reports gradients that are complete.
  ///
  /// - Parameters:
  ///   - parameters: the variables that are reported
  ///   - isFinal: called with each of them as soon as no step is left that adds to its gradient
  package func backward(telling parameters: [Variable], isFinal: (Variable) throws -> Void) rethrows {
    let observed = Set(parameters.map(ObjectIdentifier.init))
    for parameter in parameters where uses[ObjectIdentifier(parameter)] == nil { try isFinal(parameter) }
    while let step = steps.popLast() {
      for input in step() {
        let id = ObjectIdentifier(input)
        let remaining = uses[id, default: 1] - 1
        uses[id] = remaining == 0 ? nil : remaining
        if remaining == 0, observed.contains(id) { try isFinal(input) }
      }
    }
  }

  /// Gives `variable` this gradient to start from.
  package func seed(_ variable: Variable, with gradient: Tensor) {
    precondition(gradient.shape == variable.shape, "seed \(gradient.shape) for \(variable.shape)")
    variable.addGradient { buffer, accumulate in
      if accumulate { Elementwise.accumulate(gradient, into: buffer) } else { Elementwise.copy(gradient, into: buffer) }
    }
  }
}
