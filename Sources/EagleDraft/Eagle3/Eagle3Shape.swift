import EagleCore
import EagleModels
import EagleTensor

// n captured layers · H_t hidden size of the target.

/// Sizes and constants of an EAGLE-3 draft head.
package struct Eagle3Shape: DraftShape {
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
  /// The decoder layers; the first one reads the embedding, too.
  package var layers = 1
  /// The deviations from EAGLE-3.
  package var variant = Eagle3Variant()

  /// H_t.
  package var targetHiddenSize: Int { variant.targetHiddenSize ?? hiddenSize }

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

  /// The draft of a target: the target's sizes, except those that the config sets, with one layer by default and a
  /// smaller vocabulary. The config must fit the target (`DraftConfig.requireFit`).
  package init(of target: TargetShape, _ config: DraftConfig, captureLayers: [Int]) {
    self.init(
      hiddenSize: config.hiddenSize ?? target.hiddenSize, attention: config.attention(target),
      intermediateSize: config.intermediateSize ?? target.intermediateSize,
      vocabularySize: target.vocabularySize, draftVocabularySize: config.vocabularySize ?? target.vocabularySize,
      normEpsilon: target.normEpsilon, ropeTheta: config.ropeTheta, maxPositions: target.maxPositions,
      captureLayers: captureLayers)
    (layers, variant) = (config.layers ?? 1, config.variant)
    if hiddenSize != target.hiddenSize { variant.targetHiddenSize = target.hiddenSize }
    if config.ropeScaling == .target { ropeScaling = target.fullAttentionScaling }
  }
}

extension Eagle3Shape {
  private enum CodingKeys: String, CodingKey {
    case hiddenSize, attention, intermediateSize, vocabularySize, draftVocabularySize, normEpsilon, ropeTheta
    case ropeScaling, maxPositions, captureLayers, layers, variant
  }

  /// A description without layers and switches is one of plain EAGLE-3.
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
    layers = try fields.decodeIfPresent(Int.self, forKey: .layers) ?? 1
    guard (1...DraftLayer.most).contains(layers) else {
      throw DecodingError.dataCorruptedError(forKey: .layers, in: fields, debugDescription: "\(layers) layers")
    }
    variant = try fields.decodeIfPresent(Eagle3Variant.self, forKey: .variant) ?? Eagle3Variant()
  }
}

extension Eagle3Shape {
  package var architecture: String { DraftArchitecture.eagle3.rawValue }
  package var details: [String] { (layers == 1 ? [] : ["\(layers) layers"]) + variant.names }
  package var lookUpTables: Set<String> { [Eagle3Tensors.embedding] }
  package var featureMatrix: String { Eagle3Tensors.fc }
  package var sharesLMHead: Bool { variant.lmHead == .target }

  package var ownEmbedding: String? {
    variant.embedding == .own ? Eagle3Tensors.embedding : nil
  }

  /// All layers keep all keys, even if the head sees a window of them.
  package func cacheLayers(_ format: CacheFormat) -> [KVCache.LayerShape] {
    let fitting = format.fits(attention.headDimension) ? format : .bf16
    return [KVCache.LayerShape](
      repeating: KVCache.LayerShape(width: attention.keyWidth, format: fitting), count: layers)
  }

  package var headDimension: Int { attention.headDimension }
  package func draftPasses(length: Int) -> Int { length }
  package var longestDraft: Int? { nil }

  /// Least squares over the features, twice: of the states, and of the MLP's random gates.
  package func fittedStart(trainedTokens: Double) -> (rows: Double, operations: Double)? {
    let (h, m) = (Double(hiddenSize), Double(intermediateSize))
    let rows = min(Double(Eagle3FittedStart.mostRows), trainedTokens)
    let features = Double(featureWidth) + h
    let products = 2 * rows * (features * features + 2 * features * h + 2 * h * m + m * m + m * h)
    let solving = (features * features * features + m * m * m) / 3 + 2 * h * (features * features + m * m)
    return (rows, products + solving)
  }

  package func costs(_ settings: ObjectiveSettings) -> any ObjectiveCosts { Eagle3Costs(self, settings) }

  package func network(_ parameters: [DraftModel.Parameter]) -> any DraftNetwork { Eagle3Network(self, parameters) }

  /// With a window W, a row at depth k sees W - k rows of its prefix.
  package func check(_ settings: ObjectiveSettings) throws {
    if settings.anchorShare != 1 {
      throw LocatedError(
        path: "train.anchor_share", problem: "is for block drafters, and draft.architecture is \(architecture)",
        advice: "leave it out")
    }
    guard let window = variant.window, window <= settings.tttLength else { return }
    throw LocatedError(
      path: "draft.sliding_window",
      problem: "the head sees \(window) keys, and train.ttt_length is \(settings.tttLength)",
      advice: "lower train.ttt_length below \(window)")
  }
}
