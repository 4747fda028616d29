import EagleStorage
import EagleText
import Foundation

/// What an acc_length was measured with. Two that were measured with something else cannot be compared.
public struct EvaluationConditions: Codable, Sendable, Equatable {
  public var draftLength: Int
  public var maxNewTokens: Int
  /// SHA-256 of the prompts that were decoded, by benchmark.
  public var prompts: [String: String]

  enum CodingKeys: String, CodingKey {
    case prompts
    case draftLength = "draft_length"
    case maxNewTokens = "max_new_tokens"
  }

  /// Conditions of scores that no benchmark gives.
  public static let heldOutOnly = EvaluationConditions(draftLength: 0, maxNewTokens: 0, prompts: [:])

  init(draftLength: Int, maxNewTokens: Int, prompts: [String: String]) {
    (self.draftLength, self.maxNewTokens, self.prompts) = (draftLength, maxNewTokens, prompts)
  }

  /// Without benchmarks nothing is decoded, and it does not matter how.
  init(_ config: EvaluateConfig, benchmarks: [(name: String, prompts: [Prompt])]) {
    guard !benchmarks.isEmpty else {
      self = .heldOutOnly
      return
    }
    draftLength = config.draftLength
    maxNewTokens = config.maxNewTokens
    prompts = Dictionary(
      uniqueKeysWithValues: benchmarks.map { ($0.name, FileDigest.sha256(Data(Self.text($0.prompts).utf8))) })
  }

  /// Prompts as one text, which differs where they do.
  static func text(_ prompts: [Prompt]) -> String {
    prompts.map { ([$0.id, $0.system ?? ""] + $0.turns).map { "\($0.utf8.count) \($0)" }.joined(separator: "\n") }
      .joined(separator: "\n")
  }
}
