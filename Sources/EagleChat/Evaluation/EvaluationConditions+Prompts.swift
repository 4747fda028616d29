import EagleRunFiles
import EagleStorage
import EagleText
import Foundation

extension EvaluationConditions {
  /// The conditions of an evaluation. Without benchmarks nothing is decoded, and the settings do not matter.
  init(_ config: EvaluateConfig, benchmarks: [(name: String, prompts: [Prompt])]) {
    guard !benchmarks.isEmpty else {
      self = .heldOutOnly
      return
    }
    let digests = benchmarks.map { ($0.name, FileDigest.sha256(Data(Self.text($0.prompts).utf8))) }
    self.init(
      draftLength: config.draftLength, maxNewTokens: config.maxNewTokens,
      prompts: Dictionary(uniqueKeysWithValues: digests))
  }

  /// One text for some prompts, which differs where they do.
  static func text(_ prompts: [Prompt]) -> String {
    prompts.map { ([$0.id, $0.system ?? ""] + $0.turns).map { "\($0.utf8.count) \($0)" }.joined(separator: "\n") }
      .joined(separator: "\n")
  }
}
