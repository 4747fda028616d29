import Foundation

/// The conditions of a measured acc_length. Results under different conditions cannot be compared.
package struct EvaluationConditions: Codable, Sendable, Equatable {
  package var draftLength: Int
  package var maxNewTokens: Int
  /// SHA-256 of the prompts that were decoded, by benchmark.
  package var prompts: [String: String]

  enum CodingKeys: String, CodingKey {
    case prompts
    case draftLength = "draft_length"
    case maxNewTokens = "max_new_tokens"
  }

  /// The conditions of scores that no benchmark gives.
  package static let heldOutOnly = EvaluationConditions(draftLength: 0, maxNewTokens: 0, prompts: [:])

  package init(draftLength: Int, maxNewTokens: Int, prompts: [String: String]) {
    (self.draftLength, self.maxNewTokens, self.prompts) = (draftLength, maxNewTokens, prompts)
  }
}
