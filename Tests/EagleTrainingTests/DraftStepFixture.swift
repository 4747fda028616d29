import EagleCaptureStore
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor
import Foundation

/// One training case with the results of an independent PyTorch program in float64
/// (`Tools/fixtures/make_step_fixture.py`).
struct DraftStepFixture: Decodable {
  struct Config: Decodable {
    let hidden_size, num_attention_heads, num_key_value_heads, head_dim, intermediate_size: Int
    let vocab_size, draft_vocab_size, ttt_length, optimizer_steps, warmup_steps: Int
    let rms_norm_eps, rope_theta, step_decay, lr, weight_decay, max_grad_norm: Double
    let betas: [Double]
  }

  struct Inputs: Decodable {
    let offsets: [Int]
    let input_ids: [Int32]
    let loss_mask: [UInt8]
    let aux_hidden, last_hidden, target_embedding, target_head: [Float]
    let weights: [String: [Float]]
    let d2t: [Int32]
  }

  struct Outputs: Decodable {
    let loss, gradient_norm, simulated_acceptance_length: Double
    let loss_per_step, rows, accuracy, acceptance: [Double]
    let trained_rows: [[[Int]]]
    let gradients: [String: [Double]]
  }

  struct AfterOptimizer: Decodable {
    let rates, gradient_norms, losses: [Double]
    let weights: [String: [Double]]
  }

  let config: Config
  let inputs: Inputs
  let outputs: Outputs
  let after_optimizer: AfterOptimizer

  static func load() throws -> DraftStepFixture {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let data = try Data(contentsOf: tests.appendingPathComponent("Fixtures/draft-step.json"))
    return try JSONDecoder().decode(DraftStepFixture.self, from: data)
  }

  var embedding: Tensor { Tensor(inputs.target_embedding, [config.vocab_size, config.hidden_size]) }
  var head: Tensor { Tensor(inputs.target_head, [config.vocab_size, config.hidden_size]) }

  var shape: Eagle3Shape {
    Eagle3Shape(
      hiddenSize: config.hidden_size,
      attention: AttentionShape(
        heads: config.num_attention_heads, kvHeads: config.num_key_value_heads, headDimension: config.head_dim),
      intermediateSize: config.intermediate_size, vocabularySize: config.vocab_size,
      draftVocabularySize: config.draft_vocab_size, normEpsilon: Float(config.rms_norm_eps),
      ropeTheta: config.rope_theta, maxPositions: 64, captureLayers: [0, 1, 2])
  }

  var vocabulary: DraftVocabulary {
    DraftVocabulary(
      targetIDs: inputs.d2t.enumerated().map { $1 + Int32($0) }, targetSize: config.vocab_size)
  }

  func draft() -> DraftModel {
    let tensors = shape.tensorShapes.map { ($0.name, Tensor(inputs.weights[$0.name]!, $0.shape)) }
    return DraftModel(
      shape: shape, vocabulary: vocabulary, tensors: Dictionary(uniqueKeysWithValues: tensors), trainable: true)
  }

  func conversations() -> [CapturedConversation] {
    let hidden = config.hidden_size
    let rows = inputs.input_ids.count
    let aux = Tensor(inputs.aux_hidden, [rows, 3 * hidden]).bfloat16()
    let last = Tensor(inputs.last_hidden, [rows, hidden]).bfloat16()
    return zip(inputs.offsets, inputs.offsets.dropFirst()).map { start, end in
      CapturedConversation(
        ids: Array(inputs.input_ids[start..<end]), lossMask: Array(inputs.loss_mask[start..<end]),
        auxHidden: aux.slice(start..<end), lastHidden: last.slice(start..<end), teacherArgmax: nil, teacherLogSum: nil)
    }
  }
}
