import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor

// H hidden size, the target's · n captured layers · V target vocabulary · D draft vocabulary · B block size · L layers
// · r Markov rank · M MLP · d head dimension.

/// Sizes and switches of a block drafter: DFlash, or DSpark, which is DFlash with a Markov and a confidence head.
///
/// A block of B inputs, the newest token and B - 1 mask tokens, passes through L decoder layers once, and each of its
/// rows proposes one of the tokens that follow.
package struct BlockShape: DraftShape {
  package var kind: Kind
  package var hiddenSize: Int  // H
  package var attention: AttentionShape
  package var intermediateSize: Int  // M
  package var layers: Int  // L
  package var blockSize: Int  // B
  package var maskToken: Int32
  /// r; 0 for no Markov head.
  package var markovRank: Int
  package var hasConfidence: Bool
  /// Whether row 0, the newest token, proposes the token after it. Otherwise row i proposes the token at its own
  /// position, and row 0 proposes none.
  package var samplesFromAnchor: Bool
  package var lmHead: DraftTable
  package var vocabularySize: Int  // V
  package var draftVocabularySize: Int  // D
  package var normEpsilon: Float
  package var ropeTheta: Double
  package var ropeScaling: RotaryScaling?
  package var maxPositions: Int
  package var captureLayers: [Int]
  /// The factor of the target's embeddings.
  package var embeddingScale: Float

  package enum Kind: String, Sendable, Codable { case dflash, dspark }

  /// The head of a target: the target's sizes, except those in the settings, which must fit it
  /// (`DraftConfig.requireFit`).
  init(of target: TargetShape, _ config: DraftConfig, captureLayers: [Int], maskToken: Int32? = nil) {
    let block = config.block
    kind = config.architecture == .dspark ? .dspark : .dflash
    hiddenSize = target.hiddenSize
    attention = config.attention(target)
    intermediateSize = config.intermediateSize ?? target.intermediateSize
    (layers, blockSize, markovRank) = (block.layers, block.size, block.markovRank)
    (hasConfidence, samplesFromAnchor) = (block.hasConfidence, block.samplesFromAnchor)
    self.maskToken = config.maskTokenID.map(Int32.init) ?? maskToken ?? Int32(target.vocabularySize - 1)
    lmHead = config.headTable
    (vocabularySize, draftVocabularySize) = (target.vocabularySize, config.vocabularySize ?? target.vocabularySize)
    (normEpsilon, ropeTheta, maxPositions) = (target.normEpsilon, config.ropeTheta, target.maxPositions)
    ropeScaling = config.ropeScaling == .target ? target.fullAttentionScaling : nil
    self.captureLayers = captureLayers
    embeddingScale = target.embeddingScale
  }

  package init(
    kind: Kind, hiddenSize: Int, attention: AttentionShape, intermediateSize: Int, layers: Int, blockSize: Int,
    maskToken: Int32, markovRank: Int, hasConfidence: Bool, samplesFromAnchor: Bool, lmHead: DraftTable,
    vocabularySize: Int, draftVocabularySize: Int, normEpsilon: Float, ropeTheta: Double,
    ropeScaling: RotaryScaling? = nil, maxPositions: Int, captureLayers: [Int], embeddingScale: Float = 1
  ) {
    (self.kind, self.hiddenSize, self.attention) = (kind, hiddenSize, attention)
    (self.intermediateSize, self.layers, self.blockSize) = (intermediateSize, layers, blockSize)
    (self.maskToken, self.markovRank, self.hasConfidence) = (maskToken, markovRank, hasConfidence)
    (self.samplesFromAnchor, self.lmHead) = (samplesFromAnchor, lmHead)
    (self.vocabularySize, self.draftVocabularySize) = (vocabularySize, draftVocabularySize)
    (self.normEpsilon, self.ropeTheta, self.ropeScaling) = (normEpsilon, ropeTheta, ropeScaling)
    (self.maxPositions, self.captureLayers) = (maxPositions, captureLayers)
    self.embeddingScale = embeddingScale
  }

  /// Tokens that a block proposes: B, or B - 1 where row 0 proposes none.
  package var proposals: Int { samplesFromAnchor ? blockSize : blockSize - 1 }
  /// The loss of its paper.
  var ownLoss: SoftTargetLoss {
    kind == .dspark ? .labelled(crossEntropy: 0.1, distance: 0.9) : .labelled(crossEntropy: 1, distance: 0)
  }
  /// The row that proposes the first token.
  var firstRow: Int { samplesFromAnchor ? 0 : 1 }
}

extension BlockShape {
  package var architecture: String { kind.rawValue }
  package var targetHiddenSize: Int { hiddenSize }
  package var lookUpTables: Set<String> { [BlockTensors.markovTable] }
  package var ownEmbedding: String? { nil }
  package var sharesLMHead: Bool { lmHead == .target }
  package var featureMatrix: String { BlockTensors.fc }

  package var details: [String] {
    ["block of \(blockSize)", "\(layers) layers"] + (markovRank > 0 ? ["Markov rank \(markovRank)"] : [])
      + (hasConfidence ? ["confidence head"] : [])
      + (samplesFromAnchor == (kind == .dspark) ? [] : ["sample_from_anchor \(samplesFromAnchor)"])
      + (lmHead == .own ? ["own LM head"] : [])
  }

  package func cacheLayers(_ format: CacheFormat) -> [KVCache.LayerShape] {
    let fitting = format.fits(attention.headDimension) ? format : .bf16
    return [KVCache.LayerShape](
      repeating: KVCache.LayerShape(width: attention.keyWidth, format: fitting), count: layers)
  }

  package var headDimension: Int { attention.headDimension }
  package func draftPasses(length: Int) -> Int { length > 0 ? 1 : 0 }
  package var longestDraft: Int? { proposals }

  /// Two least-squares fits: over the captured states and the embedding, and over the context features and the
  /// embedding.
  package func fittedStart(trainedTokens: Double) -> (rows: Double, operations: Double)? {
    let (h, f) = (Double(hiddenSize), Double(featureWidth + hiddenSize))
    let rows = min(Double(BlockFittedStart.mostRows), trainedTokens)
    let products = 2 * rows * (f * f + f * h + 4 * h * h + 2 * h * h + 2 * Double(featureWidth) * h)
    return (rows, products + (f * f * f + 8 * h * h * h) / 3 + 2 * h * (f * f + 4 * h * h))
  }

  package func costs(_ settings: ObjectiveSettings) -> any ObjectiveCosts { BlockCosts(self, settings) }

  package func check(_ settings: ObjectiveSettings) throws {
    for (key, isSet) in [("train.mean", settings.mean != .tokens), ("train.ttt_share", settings.tttShare != 1)]
    where isSet {
      throw LocatedError(
        path: key, problem: "is for EAGLE-3 heads, and draft.architecture is \(architecture)", advice: "leave it out")
    }
  }

  package func network(_ parameters: [DraftModel.Parameter]) -> any DraftNetwork { BlockNetwork(self, parameters) }
}

/// The names of a block drafter's tensors, those of DeepSpec's folders.
enum BlockTensors {
  static let (fc, hiddenNorm, norm, lmHead) = ("fc.weight", "hidden_norm.weight", "norm.weight", "lm_head.weight")
  static let embedding = "embed_tokens.weight"
  static let markovTable = "markov_head.markov_w1.weight"
  static let markovHead = "markov_head.markov_w2.weight"
  static let (confidence, confidenceBias) = ("confidence_head.proj.weight", "confidence_head.proj.bias")

  static func layer(_ index: Int, _ name: String) -> String { "layers.\(index).\(name).weight" }
}

extension BlockShape {
  package var tensorShapes: [(name: String, shape: [Int])] {
    let (h, m, d, r) = (hiddenSize, intermediateSize, attention.headDimension, markovRank)
    let (q, kv) = (attention.queryWidth, attention.keyWidth)
    let layer: [(String, [Int])] = [
      ("input_layernorm", [h]), ("self_attn.q_proj", [q, h]), ("self_attn.k_proj", [kv, h]),
      ("self_attn.v_proj", [kv, h]), ("self_attn.o_proj", [h, q]), ("self_attn.q_norm", [d]),
      ("self_attn.k_norm", [d]), ("post_attention_layernorm", [h]), ("mlp.gate_proj", [m, h]), ("mlp.up_proj", [m, h]),
      ("mlp.down_proj", [h, m]),
    ]
    let all = (0..<layers).flatMap { index in layer.map { (name: BlockTensors.layer(index, $0.0), shape: $0.1) } }
    var shapes = [(name: BlockTensors.fc, shape: [h, featureWidth]), (BlockTensors.hiddenNorm, [h])] + all
    shapes.append((BlockTensors.norm, [h]))
    if lmHead == .own { shapes.append((BlockTensors.lmHead, [draftVocabularySize, h])) }
    if r > 0 {
      shapes += [
        (BlockTensors.markovTable, [vocabularySize, r]), (BlockTensors.markovHead, [draftVocabularySize, r]),
      ]
    }
    if hasConfidence { shapes += [(BlockTensors.confidence, [1, h + r]), (BlockTensors.confidenceBias, [1])] }
    return shapes
  }
}
