import EagleCore
import EagleStorage
import Foundation

/// A decoder family that can be imported, with its names in GGUF and in Hugging Face folders.
enum GGUFArchitecture: String, CaseIterable {
  case llama, qwen2, qwen3

  init(of file: GGUFFile) throws {
    let name = try file.string("general.architecture")
    guard let match = GGUFArchitecture(rawValue: name) else {
      let known = Self.allCases.map(\.rawValue).joined(separator: ", ")
      throw LocatedError(
        path: file.path, problem: "the architecture `\(name)` cannot be imported", advice: "models of \(known) can")
    }
    self = match
  }

  /// `architectures` of config.json.
  var className: String {
    switch self {
    case .llama: "LlamaForCausalLM"
    case .qwen2: "Qwen2ForCausalLM"
    case .qwen3: "Qwen3ForCausalLM"
    }
  }

  /// `tokenizer.ggml.pre` of all byte-level models of this family; nil where they differ.
  var preTokenizer: String? { self == .llama ? nil : "qwen2" }

  /// Whether llama.cpp stores the rows of q and k in another order than Hugging Face.
  var permutesQueryAndKey: Bool { self == .llama }

  /// Names of a layer's tensors behind `blk.N.` and behind `model.layers.N.`.
  var layerTensors: [(gguf: String, huggingFace: String)] {
    let projections = [("attn_q", "q_proj"), ("attn_k", "k_proj"), ("attn_v", "v_proj"), ("attn_output", "o_proj")]
    var tensors = [("attn_norm.weight", "input_layernorm.weight")]
    tensors += projections.map { ("\($0).weight", "self_attn.\($1).weight") }
    if self != .qwen3 { tensors += projections.map { ("\($0).bias", "self_attn.\($1).bias") } }
    if self == .qwen3 {
      tensors += [("attn_q_norm.weight", "self_attn.q_norm.weight"), ("attn_k_norm.weight", "self_attn.k_norm.weight")]
    }
    tensors += [
      ("ffn_norm.weight", "post_attention_layernorm.weight"), ("ffn_gate.weight", "mlp.gate_proj.weight"),
      ("ffn_up.weight", "mlp.up_proj.weight"), ("ffn_down.weight", "mlp.down_proj.weight"),
    ]
    return tensors.map { (gguf: $0.0, huggingFace: $0.1) }
  }

  /// Whether a layer may lack the tensor: llama may have biases on all four projections, Qwen2 has them on three.
  func mayLack(_ tensor: String) -> Bool {
    guard tensor.hasSuffix(".bias") else { return false }
    return self == .llama || tensor == "attn_output.bias"
  }
}
