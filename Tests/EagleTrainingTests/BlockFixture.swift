import EagleCaptureStore
import EagleDraft
import EagleModels
import EagleTensor
import Foundation
import Testing

/// Training steps of block drafters, with the results of an independent PyTorch program in float64
/// (`Tools/fixtures/make_block_fixture.py`).
struct BlockFixture: Decodable {
  struct Config: Decodable {
    let target_hidden_size, intermediate_size, vocab_size, captured_states, heads, kv_heads, head_dim: Int
    let eps, rope_theta, gamma: Double
    let mask_token_id: Int32
    let optimiser: Optimiser
  }

  struct Optimiser: Decodable {
    let learning_rate, beta1, beta2, epsilon, clip_norm: Double
    let steps: Int
  }

  struct Case: Decodable, Sendable, CustomTestStringConvertible {
    let name, kind: String
    let states, layers, block_size, markov_rank: Int
    let confidence, own_head, whole_vocabulary, sample_from_anchor: Bool
    let anchors: [[Int]]
    let weights: [String: [Float]]
    let gradients: [String: [Double]]
    let loss: Double
    let rows, loss_sums, hits, overlap, steps: [Double]

    var testDescription: String { name }
  }

  let config: Config
  let offsets: [Int]
  let input_ids, draft_ids: [Int32]
  let loss_mask: [UInt8]
  let aux_hidden, last_hidden, target_embedding, target_head: [Float]
  let cases: [Case]

  static func load() throws -> BlockFixture {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let data = try Data(contentsOf: tests.appendingPathComponent("Fixtures/draft-blocks.json"))
    return try JSONDecoder().decode(BlockFixture.self, from: data)
  }

  var embedding: Tensor { Tensor(target_embedding, [config.vocab_size, config.target_hidden_size]) }
  var head: Tensor { Tensor(target_head, [config.vocab_size, config.target_hidden_size]) }

  func vocabulary(_ one: Case) -> DraftVocabulary {
    let all = (0..<Int32(config.vocab_size)).map { $0 }
    return DraftVocabulary(targetIDs: one.whole_vocabulary ? all : draft_ids, targetSize: config.vocab_size)
  }

  func shape(_ one: Case) -> BlockShape {
    BlockShape(
      kind: one.kind == "dspark" ? .dspark : .dflash, hiddenSize: config.target_hidden_size,
      attention: AttentionShape(heads: config.heads, kvHeads: config.kv_heads, headDimension: config.head_dim),
      intermediateSize: config.intermediate_size, layers: one.layers, blockSize: one.block_size,
      maskToken: config.mask_token_id, markovRank: one.markov_rank, hasConfidence: one.confidence,
      samplesFromAnchor: one.sample_from_anchor, lmHead: one.own_head ? .own : .target,
      vocabularySize: config.vocab_size, draftVocabularySize: vocabulary(one).size, normEpsilon: Float(config.eps),
      ropeTheta: config.rope_theta, maxPositions: 64, captureLayers: Array(0..<one.states))
  }

  func draft(_ one: Case) -> DraftModel {
    let shape = shape(one)
    let tensors = shape.tensorShapes.map { ($0.name, Tensor(one.weights[$0.name]!, $0.shape)) }
    return DraftModel(
      shape: shape, vocabulary: vocabulary(one), tensors: Dictionary(uniqueKeysWithValues: tensors), trainable: true)
  }

  func objective(
    _ one: Case, of draft: DraftModel, chunking: ObjectiveSettings.Chunking = .standard
  ) -> BlockObjective {
    var settings = ObjectiveSettings()
    (settings.precision, settings.chunking) = (.fp32, chunking)
    let rows = one.own_head ? nil : Rows.select(head, draft.vocabulary.targetIDs)
    return BlockObjective(
      network: draft.network as! BlockNetwork, parameters: draft.parameters.map(\.variable),
      vocabulary: draft.vocabulary, tables: TargetTables(embedding: embedding, lmHead: rows),
      teacher: Teacher(head: head, vocabulary: draft.vocabulary, precision: .fp32), settings: settings,
      clock: PhaseClock(), tick: {})
  }

  func conversations(_ one: Case) -> [CapturedConversation] {
    let (hidden, rows) = (config.target_hidden_size, input_ids.count)
    let all = Tensor(aux_hidden, [rows, config.captured_states * hidden])
    let aux = Rows.columns(all, 0..<one.states * hidden).bfloat16()
    let last = Tensor(last_hidden, [rows, hidden]).bfloat16()
    return zip(offsets, offsets.dropFirst()).map { start, end in
      CapturedConversation(
        ids: Array(input_ids[start..<end]), lossMask: Array(loss_mask[start..<end]),
        auxHidden: aux.slice(start..<end), lastHidden: last.slice(start..<end), teacherArgmax: nil, teacherLogSum: nil)
    }
  }

  /// The case's anchors, with the number of trained slots of each.
  func anchors(_ one: Case, of draft: DraftModel) -> [BlockAnchors] {
    zip(offsets, offsets.dropFirst()).enumerated().map { index, range in
      let all = BlockAnchors(
        mask: Array(loss_mask[range.0..<range.1]), proposals: (draft.shape as! BlockShape).proposals)
      return all[all.positions.indices.filter { one.anchors[index].contains(all.positions[$0]) }]
    }
  }
}
