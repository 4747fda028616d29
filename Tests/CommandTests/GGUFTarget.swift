import EagleStorage
import EagleTensor
import Foundation
import Testing

extension TinyWorld {
  /// Writes the target also as `target.gguf`: matrices in Q8_0 if their rows consist of whole blocks, others in BF16.
  func writeGGUFTarget() throws {
    var file = GGUFTarget()
    try file.addSettings(of: self)
    let weights = try SafetensorsFile(path: self("target/model.safetensors"))
    for name in weights.names {
      let tensor = try weights.tensor(name)
      if tensor.shape.count == 1 {
        file.add(tensor: GGUFTarget.name(of: name), tensor.float32())
      } else {
        let heads = name.contains("q_proj") ? 4 : name.contains("k_proj") ? 2 : 0
        file.add(tensor: GGUFTarget.name(of: name), GGUFTarget.permuted(tensor, heads: heads).quantized(.q8_0))
      }
    }
    try file.data.write(to: URL(fileURLWithPath: self("target.gguf")))
  }
}

/// Builds the GGUF file of a `TinyWorld`.
private struct GGUFTarget {
  private var pairs: [Data] = []
  private var tensors: [Data] = []
  private var payload = Data()

  private static func number(_ value: some FixedWidthInteger) -> Data {
    withUnsafeBytes(of: value.littleEndian) { Data($0) }
  }

  private static func string(_ text: String) -> Data { number(UInt64(text.utf8.count)) + Data(text.utf8) }

  private mutating func add(_ key: String, type: UInt32, _ value: Data) {
    pairs.append(Self.string(key) + Self.number(type) + value)
  }

  private mutating func add(_ key: String, _ value: UInt32) { add(key, type: 4, Self.number(value)) }
  private mutating func add(_ key: String, _ value: Float) { add(key, type: 6, Self.number(value.bitPattern)) }
  private mutating func add(_ key: String, _ text: String) { add(key, type: 8, Self.string(text)) }

  private mutating func add(_ key: String, list items: [Data], type: UInt32) {
    add(key, type: 9, Self.number(type) + Self.number(UInt64(items.count)) + items.reduce(Data(), +))
  }

  mutating func add(tensor name: String, _ tensor: Tensor) {
    tensors.append(
      Self.string(name) + Self.number(UInt32(tensor.shape.count))
        + tensor.shape.reversed().map { Self.number(UInt64($0)) }.reduce(Data(), +)
        + Self.number(tensor.dtype.ggmlNumber ?? 0) + Self.number(UInt64(payload.count)))
    payload += withExtendedLifetime(tensor.storage) { Data(tensor.rawBytes) }
    payload += Data(repeating: 0, count: (32 - payload.count % 32) % 32)
  }

  var data: Data {
    let header =
      Data("GGUF".utf8) + Self.number(UInt32(3)) + Self.number(UInt64(tensors.count))
      + Self.number(UInt64(pairs.count)) + (pairs + tensors).reduce(Data(), +)
    return header + Data(repeating: 0, count: (32 - header.count % 32) % 32) + payload
  }

  /// Sizes from config.json, and the tokenizer.
  mutating func addSettings(of world: TinyWorld) throws {
    let config = try Self.object(world.read("target/config.json"))
    func size(_ key: String) throws -> UInt32 { UInt32(try #require(config[key] as? Int)) }
    add("general.architecture", "llama")
    add("llama.block_count", try size("num_hidden_layers"))
    add("llama.embedding_length", try size("hidden_size"))
    add("llama.feed_forward_length", try size("intermediate_size"))
    add("llama.attention.head_count", try size("num_attention_heads"))
    add("llama.attention.head_count_kv", try size("num_key_value_heads"))
    add("llama.context_length", try size("max_position_embeddings"))
    add("llama.rope.freq_base", Float(10000))
    add("llama.attention.layer_norm_rms_epsilon", Float(1e-5))
    try addTokenizer(of: world)
  }

  private mutating func addTokenizer(of world: TinyWorld) throws {
    let tokenizer = try Self.object(world.read("target/tokenizer.json"))
    let vocabulary = try #require((tokenizer["model"] as? [String: Any])?["vocab"] as? [String: Int])
    let added = try #require(tokenizer["added_tokens"] as? [[String: Any]])
    let ids = added.reduce(into: vocabulary) { $0[$1["content"] as? String ?? ""] = $1["id"] as? Int }
    let tokens = ids.sorted { $0.value < $1.value }.map(\.key)
    let special = Set(added.compactMap { $0["content"] as? String })
    let types = tokens.map { Self.number(Int32(special.contains($0) ? 3 : 1)) }
    let settings = try Self.object(world.read("target/tokenizer_config.json"))
    add("tokenizer.ggml.model", "gpt2")
    add("tokenizer.ggml.pre", "gpt-2")
    add("tokenizer.ggml.tokens", list: tokens.map(Self.string), type: 8)
    add("tokenizer.ggml.token_type", list: types, type: 5)
    add("tokenizer.ggml.merges", list: [], type: 8)
    add("tokenizer.ggml.eos_token_id", UInt32(258))
    add("tokenizer.chat_template", try #require(settings["chat_template"] as? String))
  }

  private static func object(_ data: Data) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  static func name(of name: String) -> String {
    let renamed = [
      ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"),
      ("model.layers", "blk"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
      ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"), ("mlp.gate_proj", "ffn_gate"),
      ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"), ("post_attention_layernorm", "ffn_norm"),
      ("input_layernorm", "attn_norm"),
    ]
    return renamed.reduce(name) { $0.replacing($1.0, with: $1.1) }
  }

  /// Rows of q or k as llama.cpp's converter lays them out: the two halves of a head interleaved.
  static func permuted(_ x: Tensor, heads: Int) -> Tensor {
    guard heads > 0 else { return x }
    let half = x.rows / heads / 2
    return Rows.select(x, (0..<x.rows).map { Int32($0 / (2 * half) * 2 * half + $0 % 2 * half + $0 % (2 * half) / 2) })
  }
}
