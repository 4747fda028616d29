import EagleCore
import EagleModels
import EagleStorage
import EagleTensor

// H hidden · D draft vocabulary.

extension BlockShape {
  package static var ggufArchitecture: String { "dflash" }

  /// The file that llama.cpp loads with a target (`--spec-type draft-dspark` or `draft-dflash`). Rows of q and k keep
  /// their order, unlike those of an EAGLE-3 head.
  package func file(target: TargetShape, type: DraftGGUF.MatrixType, path: String) throws -> HeadFile {
    if kind == .dflash, samplesFromAnchor {
      throw LocatedError(
        path: path, problem: "a DFlash head that samples from its anchor has no form that llama.cpp reads",
        advice: "export it as a folder, or train it with draft.sample_from_anchor false")
    }
    if kind == .dspark, markovRank == 0 {
      throw LocatedError(
        path: path, problem: "llama.cpp takes a DSpark head without a Markov head for a DFlash head, whose rows differ",
        advice: "export it as a folder, or train it with draft.markov_rank")
    }
    if ropeScaling != nil {
      throw LocatedError(
        path: path, problem: "the head's rotary embedding is scaled, which its file cannot say",
        advice: "export it as a folder")
    }
    return HeadFile(
      architecture: Self.ggufArchitecture, fields: fields(target),
      tokenizer: [.uint32("tokenizer.ggml.mask_token_id", Int(maskToken))], tensorName: Self.ggufName,
      rows: { $1 }, headRows: lmHead == .target && draftVocabularySize < vocabularySize ? "output.weight" : nil)
  }

  private func fields(_ target: TargetShape) -> [GGUFField] {
    func key(_ name: String) -> String { "\(Self.ggufArchitecture).\(name)" }
    let sizes: [(String, Int)] = [
      ("block_count", layers), ("context_length", target.statedPositions), ("embedding_length", hiddenSize),
      ("feed_forward_length", intermediateSize), ("vocab_size", vocabularySize), ("block_size", blockSize),
      ("attention.head_count", attention.heads), ("attention.head_count_kv", attention.kvHeads),
      ("attention.key_length", attention.headDimension), ("attention.value_length", attention.headDimension),
      ("rope.dimension_count", attention.headDimension),
    ]
    var fields = sizes.map { GGUFField.uint32(key($0.0), $0.1) }
    fields += [
      .float32(key("attention.layer_norm_rms_epsilon"), normEpsilon), .float32(key("rope.freq_base"), Float(ropeTheta)),
      // llama.cpp names layers by their inputs: the input of layer i + 1 is the output of layer i.
      .int32s(key("target_layers"), captureLayers.map { Int32($0 + 1) }),
    ]
    if kind == .dspark {
      fields += [
        .bool(key("sample_from_anchor"), samplesFromAnchor), .bool(key("has_confidence_head"), hasConfidence),
      ]
    }
    if embeddingScale != 1 { fields.append(.float32(key("embedding_scale"), embeddingScale)) }
    return fields
  }

  /// llama.cpp's names.
  private static func ggufName(_ name: String) -> String {
    if let own = names[name] { return own }
    let parts = name.split(separator: ".", maxSplits: 2)
    return "blk.\(parts[1]).\(layerNames[String(parts[2])]!)"
  }

  private static let names = [
    BlockTensors.fc: "fc.weight", BlockTensors.hiddenNorm: "enc.output_norm.weight",
    BlockTensors.norm: "output_norm.weight", BlockTensors.lmHead: "output.weight",
    BlockTensors.markovTable: "markov_w1.weight", BlockTensors.markovHead: "markov_w2.weight",
    BlockTensors.confidence: "conf_proj.weight", BlockTensors.confidenceBias: "conf_proj.bias",
  ]
  private static let layerNames = [
    "input_layernorm.weight": "attn_norm.weight", "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight", "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight", "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight", "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
  ]

  package static func reader(file: GGUFFile, target: TargetModel) throws -> any HeadReader {
    throw LocatedError(
      path: file.path, problem: "is a block drafter as a GGUF file, which this program writes and does not read",
      advice: "name the folder that it was exported from")
  }

  package static func summary(file: GGUFFile) throws -> String {
    func size(_ key: String) throws -> Int { try file.int("\(ggufArchitecture).\(key)") }
    let kind = file.contains(tensor: "markov_w1.weight") ? "DSpark" : "DFlash"
    return "\(kind) block drafter: hidden_size \(try size("embedding_length")), \(try size("block_count")) layers, "
      + "block of \(try size("block_size"))"
  }
}
