import EagleTensor

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

  /// The draft of a target: its sizes, but for what the config says, one layer and a smaller vocabulary.
  package init(of target: TargetShape, _ config: DraftConfig, captureLayers: [Int]) {
    self.init(
      hiddenSize: target.hiddenSize, attention: target.attention.plain,
      intermediateSize: config.intermediateSize ?? target.intermediateSize,
      vocabularySize: target.vocabularySize, draftVocabularySize: config.vocabularySize,
      normEpsilon: target.normEpsilon, ropeTheta: config.ropeTheta, maxPositions: target.maxPositions,
      captureLayers: captureLayers)
  }
}
