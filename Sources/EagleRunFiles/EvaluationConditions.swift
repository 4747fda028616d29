import Foundation

/// The conditions of a measured acc_length. Results under different conditions cannot be compared.
package struct EvaluationConditions: Codable, Sendable, Equatable {
  package var draftLength: Int
  package var maxNewTokens: Int
  /// SHA-256 of the prompts that were decoded, by benchmark.
  package var prompts: [String: String]
  /// Nil for greedy decoding.
  package var temperature: Double?
  /// The seed of sampling and of the choice of validation prompts; nil without either.
  package var seed: UInt64?
  /// `on` or `off`; nil leaves it to the chat template.
  package var reasoning: String?
  /// SHA-256 of the prompts that choose the best head, by benchmark; nil where all prompts do.
  package var validation: [String: String]?
  /// SHA-256 of the prompts of each context length, by benchmark; nil without context lengths.
  package var contexts: [String: [String]]?

  enum CodingKeys: String, CodingKey {
    case prompts, temperature, seed, reasoning, validation, contexts
    case draftLength = "draft_length"
    case maxNewTokens = "max_new_tokens"
  }

  /// The conditions of scores that no benchmark gives.
  package static let heldOutOnly = EvaluationConditions(draftLength: 0, maxNewTokens: 0, prompts: [:])

  package init(draftLength: Int, maxNewTokens: Int, prompts: [String: String]) {
    (self.draftLength, self.maxNewTokens, self.prompts) = (draftLength, maxNewTokens, prompts)
  }
}
