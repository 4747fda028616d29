import EagleCore
import EagleModels
import EagleTensor

/// The settings of a measurement.
package struct BenchmarkOptions: Sendable {
  package var shape: BenchmarkShape
  /// The number of tokens of one conversation.
  package var tokens: Int
  package var conversations: Int
  /// The share of a conversation's tokens, at its end, that form one assistant span.
  package var assistantShare: Double
  package var tttLength: Int
  /// D; nil selects that of the shape.
  package var draftVocabularySize: Int?
  package var precision: ComputePrecision
  package var repeats: Int

  package init(
    shape: BenchmarkShape, tokens: Int, conversations: Int, assistantShare: Double, tttLength: Int,
    draftVocabularySize: Int?, precision: ComputePrecision, repeats: Int
  ) {
    self.shape = shape
    self.tokens = tokens
    self.conversations = conversations
    self.assistantShare = assistantShare
    self.tttLength = tttLength
    self.draftVocabularySize = draftVocabularySize
    self.precision = precision
    self.repeats = repeats
  }

  var draftSize: Int { draftVocabularySize ?? shape.draftVocabularySize }

  /// The loss mask: 1 on the last `assistantShare` of the tokens.
  var lossMask: [UInt8] {
    let trained = min(tokens, Int((Double(tokens) * assistantShare).rounded()))
    return [UInt8](repeating: 0, count: tokens - trained) + [UInt8](repeating: 1, count: trained)
  }

  /// Conversations of random ids.
  func randomConversations(vocabulary: Int) -> [[Int32]] {
    var random = RandomSource(seed: 0, purpose: "benchmark conversations")
    return (0..<conversations).map { _ in
      (0..<tokens).map { _ in Int32.random(in: 0..<Int32(vocabulary), using: &random) }
    }
  }
}
