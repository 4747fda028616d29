import EagleCore
import EagleDecoding
import EagleModels
import EagleTensor
import Testing

/// Heads of every variant draft, and leave the text as it is.
@Suite struct VariantDecodingTests {
  private static func config(_ name: String) -> DraftConfig {
    var config = DraftConfig()
    config.vocabularySize = 200
    switch name {
    case "norm_before_fc": config.normBeforeFC = true
    case "fc_norm": config.fcNorm = true
    case "norm_output": config.normOutput = true
    case "norm_before_residual": config.normBeforeResidual = true
    case "qk_norm": config.qkNorm = true
    case "window": config.slidingWindow = 64
    case "whole": (config.vocabularySize, config.lmHead) = (nil, .target)
    case "rows of the LM head": config.lmHead = .target
    default: (config.hiddenSize, config.embedding, config.fcNorm, config.qkNorm) = (16, .own, true, true)
    }
    return config
  }

  @Test(
    "texts are those of plain decoding, with a chain and with a tree",
    arguments: [
      "norm_before_fc", "fc_norm", "norm_output", "norm_before_residual", "qk_norm", "window", "whole",
      "rows of the LM head", "narrow",
    ])
  func lossless(name: String) throws {
    for precision in ComputePrecision.allCases {
      let target = Drafts.target(seed: 3, precision: precision)
      let shape = DraftShape(of: target.shape, Self.config(name), captureLayers: [0, 1, 2])
      let head = DraftModel.random(
        shape: shape,
        vocabulary: .mostFrequent(
          counts: [Int](repeating: 1, count: target.shape.vocabularySize), size: shape.draftVocabularySize, always: []),
        seed: 5
      ).rounded()
      var options = DecodingOptions(maxNewTokens: 90, stopIDs: [])
      let plain = try DecodingSession(target: target).generate([7, 8, 9, 10], options)
      for plan in [DraftPlan.chain(3), DraftPlan(depth: 3, width: 3, nodes: 8)] {
        options.plan = plan
        let drafted = try DecodingSession(target: target, draft: head).generate([7, 8, 9, 10], options)
        #expect(drafted.ids == plain.ids && drafted.statistics.draftedTokens > 0)
      }
    }
  }
}
