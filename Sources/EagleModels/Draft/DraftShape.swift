import EagleCore
import EagleTensor

// n captured layers · H_t hidden size of the target.

/// Sizes and constants of an EAGLE-3 draft head.
package struct DraftShape: Sendable, Equatable, Codable {
  package var hiddenSize: Int  // H
  package var attention: AttentionShape
  package var intermediateSize: Int  // M
  package var vocabularySize: Int  // V, of the target
  package var draftVocabularySize: Int  // D
  package var normEpsilon: Float
  package var ropeTheta: Double
  /// The scaling of the rotary embedding; nil for none.
  package var ropeScaling: RotaryScaling?
  package var maxPositions: Int
  /// 0-based target layers whose outputs the draft reads.
  package var captureLayers: [Int]
  /// What departs from EAGLE-3.
  package var variant = DraftVariant()

  /// H_t.
  package var targetHiddenSize: Int { variant.targetHiddenSize ?? hiddenSize }
  /// The width of a row of captured states, n H_t.
  package var featureWidth: Int { captureLayers.count * targetHiddenSize }

  package init(
    hiddenSize: Int, attention: AttentionShape, intermediateSize: Int, vocabularySize: Int, draftVocabularySize: Int,
    normEpsilon: Float, ropeTheta: Double, maxPositions: Int, captureLayers: [Int]
  ) {
    self.hiddenSize = hiddenSize
    self.attention = attention
    self.intermediateSize = intermediateSize
    self.vocabularySize = vocabularySize
    self.draftVocabularySize = draftVocabularySize
    self.normEpsilon = normEpsilon
    self.ropeTheta = ropeTheta
    self.maxPositions = maxPositions
    self.captureLayers = captureLayers
  }

  /// The draft of a target: its sizes, but for what the config says, one layer and a smaller vocabulary. The config fits
  /// the target (`DraftConfig.requireFit`).
  package init(of target: TargetShape, _ config: DraftConfig, captureLayers: [Int]) {
    self.init(
      hiddenSize: config.hiddenSize ?? target.hiddenSize, attention: config.attention(target),
      intermediateSize: config.intermediateSize ?? target.intermediateSize,
      vocabularySize: target.vocabularySize, draftVocabularySize: config.vocabularySize ?? target.vocabularySize,
      normEpsilon: target.normEpsilon, ropeTheta: config.ropeTheta, maxPositions: target.maxPositions,
      captureLayers: captureLayers)
    variant = config.variant
    if hiddenSize != target.hiddenSize { variant.targetHiddenSize = target.hiddenSize }
    if config.ropeScaling == .target { ropeScaling = target.fullAttentionScaling }
  }
}

extension DraftShape {
  private enum CodingKeys: String, CodingKey {
    case hiddenSize, attention, intermediateSize, vocabularySize, draftVocabularySize, normEpsilon, ropeTheta
    case ropeScaling, maxPositions, captureLayers, variant
  }

  /// A description without switches is one of plain EAGLE-3.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      hiddenSize: try fields.decode(Int.self, forKey: .hiddenSize),
      attention: try fields.decode(AttentionShape.self, forKey: .attention),
      intermediateSize: try fields.decode(Int.self, forKey: .intermediateSize),
      vocabularySize: try fields.decode(Int.self, forKey: .vocabularySize),
      draftVocabularySize: try fields.decode(Int.self, forKey: .draftVocabularySize),
      normEpsilon: try fields.decode(Float.self, forKey: .normEpsilon),
      ropeTheta: try fields.decode(Double.self, forKey: .ropeTheta),
      maxPositions: try fields.decode(Int.self, forKey: .maxPositions),
      captureLayers: try fields.decode([Int].self, forKey: .captureLayers))
    ropeScaling = try fields.decodeIfPresent(RotaryScaling.self, forKey: .ropeScaling)
    variant = try fields.decodeIfPresent(DraftVariant.self, forKey: .variant) ?? DraftVariant()
  }
}
