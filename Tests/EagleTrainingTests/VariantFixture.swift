import EagleCaptureStore
import EagleDraft
import EagleModels
import EagleTensor
import Foundation
import Testing

/// A training step of every variant of the head, with the results of an independent PyTorch program in float64
/// (`Tools/fixtures/make_variant_fixture.py`).
struct VariantFixture: Decodable {
  struct Config: Decodable {
    let target_hidden_size, intermediate_size, vocab_size, ttt_length, captured_layers, heads, kv_heads, head_dim: Int
    let step_decay, eps, rope_theta: Double
  }

  struct Variant: Decodable, Sendable, CustomTestStringConvertible {
    let name, feature_norm: String
    /// `layers` are the captured ones, `head_layers` those of the head.
    let hidden, layers, head_layers: Int
    let qk_norm, own_embedding, own_head, whole_vocabulary, norm_output, norm_before_residual: Bool
    let window: Int?
    let rope_factor, loss: Double
    let weights: [String: [Float]]
    let gradients: [String: [Double]]
    let loss_per_step, accuracy, rows: [Double]

    var testDescription: String { name }
  }

  let config: Config
  let offsets: [Int]
  let input_ids, draft_ids: [Int32]
  let loss_mask: [UInt8]
  let aux_hidden, last_hidden, target_embedding, target_head: [Float]
  let variants: [Variant]

  static func load() throws -> VariantFixture {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let data = try Data(contentsOf: tests.appendingPathComponent("Fixtures/draft-variants.json"))
    return try JSONDecoder().decode(VariantFixture.self, from: data)
  }

  var embedding: Tensor { Tensor(target_embedding, [config.vocab_size, config.target_hidden_size]) }
  var head: Tensor { Tensor(target_head, [config.vocab_size, config.target_hidden_size]) }

  func vocabulary(_ variant: Variant) -> DraftVocabulary {
    let all = (0..<Int32(config.vocab_size)).map { $0 }
    return DraftVocabulary(targetIDs: variant.whole_vocabulary ? all : draft_ids, targetSize: config.vocab_size)
  }

  /// The rows of the target's LM head for the draft ids.
  func tables(_ variant: Variant) -> TargetTables {
    TargetTables(embedding: embedding, lmHead: Rows.select(head, vocabulary(variant).targetIDs))
  }

  func shape(_ variant: Variant) -> Eagle3Shape {
    var shape = Eagle3Shape(
      hiddenSize: variant.hidden,
      attention: AttentionShape(heads: config.heads, kvHeads: config.kv_heads, headDimension: config.head_dim),
      intermediateSize: config.intermediate_size, vocabularySize: config.vocab_size,
      draftVocabularySize: vocabulary(variant).size, normEpsilon: Float(config.eps), ropeTheta: config.rope_theta,
      maxPositions: 64, captureLayers: Array(0..<variant.layers))
    shape.ropeScaling = variant.rope_factor == 1 ? nil : .linear(factor: variant.rope_factor)
    shape.layers = variant.head_layers
    shape.variant.featureNorm =
      switch variant.feature_norm {
      case "joint": .joint
      case "per_state": .perState
      default: .none
      }
    shape.variant.feedsNormedState = variant.norm_output
    shape.variant.normsResidual = variant.norm_before_residual
    shape.variant.normsQueryKey = variant.qk_norm
    shape.variant.window = variant.window
    shape.variant.embedding = variant.own_embedding ? .own : .target
    shape.variant.lmHead = variant.own_head ? .own : .target
    if variant.hidden != config.target_hidden_size { shape.variant.targetHiddenSize = config.target_hidden_size }
    return shape
  }

  func draft(_ variant: Variant) -> DraftModel {
    let shape = shape(variant)
    let tensors = shape.tensorShapes.map { ($0.name, Tensor(variant.weights[$0.name]!, $0.shape)) }
    return DraftModel(
      shape: shape, vocabulary: vocabulary(variant), tensors: Dictionary(uniqueKeysWithValues: tensors),
      trainable: true)
  }

  func conversations(_ variant: Variant) -> [CapturedConversation] {
    let (hidden, rows) = (config.target_hidden_size, input_ids.count)
    let all = Tensor(aux_hidden, [rows, config.captured_layers * hidden])
    let aux = Rows.columns(all, 0..<variant.layers * hidden).bfloat16()
    let last = Tensor(last_hidden, [rows, hidden]).bfloat16()
    return zip(offsets, offsets.dropFirst()).map { start, end in
      CapturedConversation(
        ids: Array(input_ids[start..<end]), lossMask: Array(loss_mask[start..<end]),
        auxHidden: aux.slice(start..<end), lastHidden: last.slice(start..<end), teacherArgmax: nil, teacherLogSum: nil)
    }
  }
}
