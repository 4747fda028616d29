import CEagleKernels
import Foundation

// V vocabulary.

/// The target's log-probability of a generated token, and those of the most likely alternatives.
///
/// The values are natural logarithms of softmax over the model's own logits: before biases, penalties, temperature and
/// filters, as vLLM reports them. So they say what the model thinks, not how the token was sampled.
public struct TokenLogprobs: Sendable, Equatable {
  /// A token and its log-probability.
  public struct Entry: Sendable, Equatable {
    /// The token id.
    public let token: Int32
    /// The natural logarithm of its probability.
    public let logprob: Float

    /// Creates an entry.
    public init(token: Int32, logprob: Float) { (self.token, self.logprob) = (token, logprob) }
  }

  /// The generated token.
  public let chosen: Entry
  /// The most likely tokens, the likeliest first, as many as `SamplingOptions.logprobs` requests. The chosen token need
  /// not be among them.
  public let top: [Entry]

  /// Creates the logprobs of one token.
  public init(chosen: Entry, top: [Entry]) { (self.chosen, self.top) = (chosen, top) }
}

/// The logits of a position as the model gave them: the sampler overwrites its own.
package struct RawLogits {
  private let values: [Float]  // [V]
  private let count: Int

  /// - Parameter count: the number of most likely tokens to report
  init(_ logits: UnsafeMutableBufferPointer<Float>, count: Int) {
    values = Array(logits)
    self.count = count
  }

  // ln p_t = z_t − m − ln Σ_i exp(z_i − m), m = max z
  package func logprobs(of token: Int32) -> TokenLogprobs {
    let top = values.withUnsafeBufferPointer { TopK.indices(count, of: $0) }
    var (exponentials, maximum) = (values, Float(0))
    let sum = exponentials.withUnsafeMutableBufferPointer {
      eagle_exp_row($0.baseAddress!, Int64($0.count), &maximum)
    }
    let normalizer = Double(maximum) + log(Double(sum))
    func entry(_ token: Int) -> TokenLogprobs.Entry {
      TokenLogprobs.Entry(token: Int32(token), logprob: Float(Double(values[token]) - normalizer))
    }
    return TokenLogprobs(chosen: entry(Int(token)), top: top.map(entry))
  }
}
