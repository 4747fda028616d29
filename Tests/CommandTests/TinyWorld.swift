import EagleStorage
import EagleTensor
import EagleText
import Foundation

/// A folder with a random target that speaks ChatML over single bytes, conversations, prompts and a recipe.
final class TinyWorld: Sendable {
  let path = NSTemporaryDirectory() + "/eagle-world-" + UUID().uuidString
  static let layers = 8
  static let hidden = 32
  private static let special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

  /// - Parameters:
  ///   - conversations: the number of conversations in `data.jsonl`
  ///   - endless: whether the target never ends an answer, and has positions for long ones
  ///   - isLarge: whether the target's weights are 12 MB, of which its fingerprint reads a part, or 0.2 MB, which it
  ///     reads completely
  init(conversations: Int = 60, endless: Bool = false, isLarge: Bool = false) throws {
    try FileManager.default.createDirectory(atPath: "\(path)/target", withIntermediateDirectories: true)
    try writeTokenizer()
    try writeTarget(endless: endless, mlp: isLarge ? 8192 : 48)
    try put("data.jsonl", (0..<conversations).map(Self.conversation).joined(separator: "\n") + "\n")
    try put(
      "prompts.jsonl", #"{"id": "a", "turns": ["one two", "three"]}"# + "\n" + #"{"id": "b", "prompt": "four"}"# + "\n")
    try put("recipe.yaml", Self.recipe)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

  func put(_ name: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: self(name)))
  }

  func read(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: self(name))) }

  private static let recipe = """
    run: tiny
    output: out
    target: {path: target, precision: fp32}
    data: {train: [data.jsonl], held_out: 0.05, max_length: 256}
    capture: {shard_tokens: 1500}
    draft: {vocabulary_size: 64}
    train: {epochs: 2, ttt_length: 3, learning_rate: 1e-3, tokens_per_batch: 400, precision: fp32, checkpoint_every: 5}
    evaluate: {draft_length: 3, max_new_tokens: 12, benchmarks: {few: prompts.jsonl}, limit: 2}

    """

  private static func conversation(_ index: Int) -> String {
    let words = ["apple", "river", "seven", "cloud", "green", "paper", "music"]
    let answer = (0..<3 + index % 5).map { words[(index * 3 + $0 * $0) % 7] }.joined(separator: " ")
    return #"{"id": "c\#(index)", "conversations": [{"role": "user", "content": "\#(words[index % 7]) \#(index)"}, "#
      + #"{"role": "assistant", "content": "\#(answer)."}]}"#
  }

  private func writeTokenizer() throws {
    // GPT-2's printable stand-in for each byte.
    let printable = Array(33...126) + Array(161...172) + Array(174...255)
    var next: UInt32 = 256
    let tokens = (0..<256).map { byte -> String in
      if printable.contains(byte) { return String(Unicode.Scalar(UInt32(byte))!) }
      defer { next += 1 }
      return String(Unicode.Scalar(next)!)
    }
    let types = [Int32](repeating: 1, count: 256) + [3, 3, 3]
    let tokenizer = try TokenizerFile.json(
      tokens: tokens + Self.special, merges: [], tokenTypes: types, preTokenizer: "gpt-2")
    try tokenizer.write(to: URL(fileURLWithPath: self("target/tokenizer.json")))
    let template =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
      + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    try TokenizerFile.config(chatTemplate: template, bos: nil, eos: "<|im_end|>", pad: nil)
      .write(to: URL(fileURLWithPath: self("target/tokenizer_config.json")))
  }

  private func writeTarget(endless: Bool, mlp m: Int) throws {
    let (h, v, kv) = (Self.hidden, 259, 16)
    let config: [String: Any] = [
      "model_type": "llama", "hidden_size": h, "num_hidden_layers": Self.layers, "num_attention_heads": 4,
      "num_key_value_heads": 2, "intermediate_size": m, "vocab_size": v, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
      "max_position_embeddings": endless ? 400_000 : 512, "tie_word_embeddings": false, "eos_token_id": 258,
    ]
    try JSONSerialization.data(withJSONObject: config).write(to: URL(fileURLWithPath: self("target/config.json")))
    var shapes: [(String, [Int])] = [("model.embed_tokens.weight", [v, h])]
    for layer in 0..<Self.layers {
      let name = "model.layers.\(layer)"
      shapes += [
        ("\(name).input_layernorm.weight", [h]), ("\(name).self_attn.q_proj.weight", [h, h]),
        ("\(name).self_attn.k_proj.weight", [kv, h]), ("\(name).self_attn.v_proj.weight", [kv, h]),
        ("\(name).self_attn.o_proj.weight", [h, h]), ("\(name).post_attention_layernorm.weight", [h]),
        ("\(name).mlp.gate_proj.weight", [m, h]), ("\(name).mlp.up_proj.weight", [m, h]),
        ("\(name).mlp.down_proj.weight", [h, m]),
      ]
    }
    shapes += [("model.norm.weight", [h]), ("lm_head.weight", [v, h])]
    var random = RandomSource(seed: 42)
    let tensors = shapes.map { name, shape in
      (
        name: name,
        tensor: shape.count == 1
          ? Tensor.filled(shape, with: 1).bfloat16() : Tensor.normal(shape, deviation: 0.3, using: &random).bfloat16()
      )
    }
    if endless {
      // A logit of 0 is never the largest of random ones.
      let head = tensors.last!.tensor
      for i in 256 * h..<v * h { head.bfloats[i] = 0 }
    }
    try SafetensorsWriter.write(path: self("target/model.safetensors"), tensors: tensors)
  }
}
