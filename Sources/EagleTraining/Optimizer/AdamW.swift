import CEagleKernels
import EagleModels
import EagleTensor
import Foundation

/// AdamW with float32 master weights, over one flat buffer that the draft's tensors are slices of.
///
/// m = β₁ m + (1 − β₁) g,  v = β₂ v + (1 − β₂) g²,
/// w = w (1 − lr · decay) − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
public final class AdamW {
  public static let epsilon: Float = 1e-8

  /// The draft over the flat weights.
  public let draft: DraftModel
  public let weights: Tensor  // [P]
  public let gradients: Tensor  // [P]
  public let firstMoment: Tensor  // [P]
  public let secondMoment: Tensor  // [P]
  private let config: TrainConfig

  /// Copies the draft's weights into the flat buffer.
  public init(_ start: DraftModel, config: TrainConfig) {
    let count = start.parameterCount
    self.config = config
    weights = Tensor([count])
    (gradients, firstMoment, secondMoment) = (.zeros([count]), .zeros([count]), .zeros([count]))
    var tensors: [String: Tensor] = [:]
    var at = 0
    for parameter in start.parameters {
      let slice = weights.slice(at..<at + parameter.variable.value.count)
      Elementwise.copy(parameter.variable.value.float32(), into: slice)
      tensors[parameter.name] = slice.reshaped(parameter.variable.shape)
      at += slice.count
    }
    draft = DraftModel(shape: start.shape, vocabulary: start.vocabulary, tensors: tensors, trainable: true)
    bindGradients()
  }

  /// Lets every parameter add its gradient to a slice of the flat buffer.
  private func bindGradients() {
    var at = 0
    for parameter in draft.parameters {
      let count = parameter.variable.value.count
      parameter.variable.adoptGradient(gradients.slice(at..<at + count).reshaped(parameter.variable.shape))
      at += count
    }
  }

  /// Sets every gradient to 0.
  public func clearGradients() { gradients.clear() }

  /// To be called after the flat weights have been written to.
  func weightsHaveChanged() {
    for parameter in draft.parameters { parameter.variable.valueHasChanged() }
  }

  /// Euclidean norm of all gradients, summed in a fixed order.
  public func gradientNorm() -> Double {
    let piece = 1 << 16
    let count = gradients.count
    var sums = [Double](repeating: 0, count: (count + piece - 1) / piece)
    sums.withUnsafeMutableBufferPointer { sums in
      let sums = sums
      Parallel.forEachRange(sums.count, grain: 1, dynamic: true) { range in
        for i in range {
          sums[i] = eagle_sum_of_squares(gradients.floats + i * piece, Int64(min(piece, count - i * piece)))
        }
      }
    }
    return sums.reduce(0, +).squareRoot()
  }

  /// One step with the gradients that are there, scaled down to the clip norm.
  ///
  /// - Parameters:
  ///   - step: number of this step, from 1
  ///   - norm: the gradients' norm
  public func apply(step: Int, learningRate: Double, norm: Double) {
    // As torch.nn.utils.clip_grad_norm_ does.
    let scale = min(1, config.clipNorm / (norm + 1e-6))
    var settings = eagle_adamw(
      learning_rate: Float(learningRate), beta1: Float(config.beta1), beta2: Float(config.beta2), epsilon: Self.epsilon,
      weight_decay: Float(config.weightDecay), rest1: Float(1 - config.beta1), rest2: Float(1 - config.beta2),
      correction1: Float(1 - pow(config.beta1, Double(step))),
      correction2: Float(1 - pow(config.beta2, Double(step))), gradient_scale: Float(scale))
    withUnsafePointer(to: &settings) { settings in
      Elementwise.forEach(weights) { at, n in
        eagle_adamw_step(
          settings, weights.floats + at, gradients.floats + at, firstMoment.floats + at, secondMoment.floats + at, n)
      }
    }
    weightsHaveChanged()
  }
}
