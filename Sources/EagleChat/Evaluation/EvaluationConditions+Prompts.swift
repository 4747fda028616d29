import EagleRunFiles
import EagleStorage
import EagleText
import Foundation

extension EvaluationConditions {
  /// The conditions of an evaluation. Without benchmarks nothing is decoded, so the settings are left out.
  init(_ config: EvaluateConfig, _ sets: [EvaluationSet]) {
    guard !sets.isEmpty else {
      self = .heldOutOnly
      return
    }
    func digests(_ isWanted: (EvaluationSet.Role) -> Bool) -> [String: [String]] {
      Dictionary(grouping: sets.filter { isWanted($0.role) }, by: \.benchmark).mapValues { $0.map(\.digest) }
    }
    self.init(
      draftLength: config.draftLength, maxNewTokens: config.maxNewTokens,
      prompts: digests { $0 == .reported }.compactMapValues(\.first))
    // Settings with their default value are nil, so that older records remain comparable.
    temperature = config.temperature > 0 ? config.temperature : nil
    seed = config.temperature > 0 || config.validation > 0 ? config.seed : nil
    reasoning = config.reasoning == .auto ? nil : config.reasoning.rawValue
    validation = config.validation > 0 ? digests { $0 == .validation }.compactMapValues(\.first) : nil
    contexts = config.contextLengths.isEmpty ? nil : digests { $0 != .reported && $0 != .validation }
  }
}

extension EvaluationSet {
  /// SHA-256 of the prompts.
  var digest: String { FileDigest.sha256(Data(text.utf8)) }

  /// An unambiguous string of all prompts, for the digest.
  var text: String {
    prompts.map { ([$0.id, $0.system ?? ""] + $0.turns).map { "\($0.utf8.count) \($0)" }.joined(separator: "\n") }
      .joined(separator: "\n")
  }
}
