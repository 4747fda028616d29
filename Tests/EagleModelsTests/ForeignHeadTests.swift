import EagleCore
import EagleDraft
import EagleModels
import EagleTensor
import Foundation
import Testing

/// A head of another project is computed as its author intended, or rejected by name.
@Suite struct ForeignHeadTests {
  private let target: TargetModel
  private let head: TinyHead
  private let scratch: ModelScratch

  init() throws {
    target = try TargetModel(folder: TinyModel.folder("tiny-llama"))
    head = TinyHead(target: target)
    scratch = try ModelScratch()
  }

  /// The message for a head whose config has been merged with a JSON object; nil if it can be read.
  private func refusal(_ json: String) throws -> String? {
    let changes = try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    let path = try head.edited(scratch, config: { $0.merge(changes) { $1 } })
    return refusal(of: path)
  }

  private func refusal(of path: String) -> String? {
    do {
      _ = try DraftFolder.read(path, target: target)
      return nil
    } catch { return "\(error)" }
  }

  @Test(
    "a config that asks for another computation is refused by the name of its key",
    arguments: [
      (#"{"norm_output": false}"#, "norm_output"),
      (#"{"norm_output": true, "architectures": ["Other"]}"#, "two meanings"),
      (#"{"eagle_config": {"use_aux_hidden_state": false}}"#, "use_aux_hidden_state"),
      (#"{"use_aux_hidden_state": false}"#, "use_aux_hidden_state"),
      (#"{"num_aux_hidden_states": 5}"#, "`num_aux_hidden_states` is 5"),
      (#"{"parallel_drafting": true}"#, "`parallel_drafting` is true"),
      (#"{"eagle_config": {"parallel_draft_step": 4}}"#, "parallel_draft_step"),
      (#"{"num_hidden_layers": 2}"#, "num_hidden_layers"),
      (#"{"attention_bias": true}"#, "attention_bias"), (#"{"mlp_bias": true}"#, "mlp_bias"),
      (#"{"hidden_act": "gelu"}"#, "hidden_act"),
      (#"{"use_sliding_window": true}"#, "sliding_window"),
      (#"{"layer_types": ["sliding_attention"]}"#, "sliding_window"),
      (#"{"model_type": "gemma"}"#, "model_type"), (#"{"rope_scaling": {"rope_type": "ntk", "factor": 4}}"#, "ntk"),
      (#"{"rope_scaling": {"type": "linear", "factor": -2}}"#, "factor"),
      (#"{"rope_parameters": {"rope_type": "llama3"}}"#, "low_freq_factor"),
      (#"{"rope_scaling": {"factor": 8}}"#, "factor"),
      (#"{"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}"#, "full_attention"),
      (#"{"partial_rotary_factor": 0.5}"#, "partial_rotary_factor"),
      (#"{"embedding_multiplier": 12}"#, "embedding_mult"),
      (#"{"final_logit_softcapping": 30}"#, "final_logit_softcapping"), (#"{"num_experts": 8}"#, "num_experts"),
      (#"{"norm_before_residual": "yes"}"#, "norm_before_residual"),
      (
        #"{"num_attention_heads": 4611686018427387904, "num_key_value_heads": 4611686018427387904}"#,
        "num_attention_heads"
      ),
    ])
  func variantsAreRefused(json: String, word: String) throws {
    let message = try #require(try refusal(json), "\(json) is read")
    #expect(message.contains(word) && message.contains("config.json"), "\(message)")
  }

  @Test(
    "a config that says what is computed anyway, or nothing about numerics, is read",
    arguments: [
      #"{"norm_before_residual": false, "norm_output": true, "fc_norm": false, "norm_before_fc": false}"#,
      #"{"use_aux_hidden_state": true, "num_aux_hidden_states": 3, "parallel_drafting": false, "norm_output": null}"#,
      #"{"attention_bias": false, "mlp_bias": false, "hidden_act": "silu", "sliding_window": null}"#,
      #"{"use_sliding_window": false, "sliding_window": 4096, "layer_types": ["full_attention"]}"#,
      #"{"rope_scaling": null, "rope_parameters": {"rope_type": "default", "rope_theta": 10000}}"#,
      #"{"transformers_version": "5.0", "use_cache": true, "initializer_range": 0.02, "attention_dropout": 0.0}"#,
      #"{"pretraining_tp": 1, "unheard_of": [1, 2], "draft_vocab_size": 24, "model_type": "llama"}"#,
    ])
  func plainConfigsAreRead(json: String) throws {
    let message = try refusal(json)
    #expect(message == nil, "\(message ?? "")")
  }

  @Test("a target_hidden_size that is the head's own is read")
  func equalWidths() throws {
    let message = try refusal(#"{"target_hidden_size": \#(target.shape.hiddenSize)}"#)
    #expect(message == nil, "\(message ?? "")")
  }

  @Test(
    "the base of the rotary embedding is read wherever transformers writes it",
    arguments: [
      (#"{"rope_theta": 500000}"#, 500_000.0), (#"{"rope_theta": null, "rope_parameters": {"rope_theta": 5e6}}"#, 5e6),
      (#"{"rope_theta": null, "rope_scaling": {"rope_type": "default", "rope_theta": 1e6}}"#, 1e6),
      (#"{"rope_theta": 1e6, "rope_parameters": {"rope_theta": 1000000}}"#, 1e6), (#"{"rope_theta": null}"#, 10000),
    ])
  func ropeTheta(json: String, theta: Double) throws {
    let changes = try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    let path = try head.edited(scratch, config: { $0.merge(changes) { $1 } })
    #expect(try DraftFolder.read(path, target: target).eagle3?.shape.ropeTheta == theta)
  }

  @Test("two bases that differ, or one that is none, are refused")
  func wrongRopeTheta() throws {
    for json in [
      #"{"rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e6}}"#, #"{"rope_theta": 0}"#, #"{"rope_theta": "1e6"}"#,
    ] { #expect(try refusal(json)?.contains("rope_theta") == true, "\(json)") }
  }

  @Test(
    "layer ids count outputs in eagle_config and inputs at the top level; lists that contradict each other are refused")
  func layerIDs() throws {
    let key = "eagle_aux_hidden_state_layer_ids"
    func layers(_ after: String?, _ before: String?) throws -> [Int] {
      let json =
        #"{"eagle_config": \#(after.map { #"{"\#(key)": \#($0)}"# } ?? "null"), "\#(key)": \#(before ?? "null")}"#
      let changes = try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
      let path = try head.edited(scratch, config: { $0.merge(changes) { $1 } })
      return try DraftFolder.read(path, target: target).shape.captureLayers
    }
    #expect(try layers("[0, 1, 3]", "[1, 2, 4]") == [0, 1, 3])
    #expect(try layers("[0, 1, 3]", nil) == [0, 1, 3])
    #expect(try layers(nil, "[1, 2, 4]") == [0, 1, 3])
    for (after, before, word) in [
      ("[0, 1, 3]", "[0, 1, 3]", "layers [-1, 0, 2]"), ("[0, 1]", nil, "`fc.weight` has shape"),
      (nil, "[0, 1, 2]", "[-1, 0, 1]"),
      ("3", nil, "not a list"), (nil, #"["1"]"#, "not a list"), (nil, "[-9223372036854775808, 1, 2]", "no layer"),
      ("[0, 1.5, 2]", nil, "no layer"),
    ] as [(String?, String?, String)] {
      let error = #expect(throws: LocatedError.self) { try layers(after, before) }
      #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
    }
  }

  @Test("tensors of variants are refused with what they are for")
  func tensorsOfVariants() throws {
    for (name, word) in [
      ("midlayer.self_attn.k_norm.weight", "norms of q and k"), ("fc_norm.0.weight", "`fc_norm`"),
      ("input_norm.weight", "`norm_before_fc`"), ("fc.bias", "biases"),
    ] {
      let message = refusal(of: try head.edited(scratch, tensors: { $0[name] = .zeros([4]) }))
      #expect(message?.contains("`\(name)` (\(word))") == true, "\(message ?? "read")")
    }
    let deeper = refusal(of: try head.edited(scratch, tensors: { $0["layers.1.mlp.up_proj.weight"] = .zeros([4]) }))
    #expect(
      deeper?.contains("`num_hidden_layers` is 1, and there are tensors of 2 layers") == true, "\(deeper ?? "read")")
    let message = refusal(
      of: try head.edited(
        scratch,
        tensors: {
          let fc = $0["fc.weight"]!.float32()
          fc.floats[3] = .nan
          $0["fc.weight"] = fc
        }))
    #expect(message?.contains("`fc.weight` holds 1 non-finite value") == true, "\(message ?? "read")")
  }

  @Test("d2t is int64 or int32, t2d bool or uint8, and both say the same")
  func vocabularyTensors() throws {
    func narrow(_ tensors: inout [String: Tensor]) {
      let (d2t, t2d) = (Tensor([24], dtype: .int32), Tensor([target.shape.vocabularySize], dtype: .uint8))
      for i in 0..<24 { d2t.buffer(Int32.self)[i] = Int32(tensors["d2t"]!.buffer(Int64.self)[i]) }
      for i in 0..<t2d.count { t2d.buffer(UInt8.self)[i] = tensors["t2d"]!.buffer(UInt8.self)[i] }
      (tensors["d2t"], tensors["t2d"]) = (d2t, t2d)
    }
    let path = try head.edited(scratch, tensors: narrow)
    #expect(try DraftFolder.read(path, target: target).vocabulary == head.draft().vocabulary)
    let other = refusal(
      of: try head.edited(
        scratch,
        tensors: {
          narrow(&$0)
          $0["t2d"]!.buffer(UInt8.self)[0] ^= 1
        }))
    #expect(other?.contains("`t2d` does not mark the tokens of `d2t`") == true, "\(other ?? "read")")
    let wide = refusal(of: try head.edited(scratch, tensors: { $0["d2t"] = .zeros([24]) }))
    #expect(wide?.contains("`d2t` is float32 [24], and must be int64 or int32 [24]") == true, "\(wide ?? "read")")
    let short = refusal(of: try head.edited(scratch, tensors: { $0["t2d"] = .zeros([3], dtype: .bool) }))
    #expect(short?.contains("`t2d` is bool [3]") == true, "\(short ?? "read")")
  }

  @Test("a folder that is no such head says what it is")
  func otherFolders() throws {
    let model = try #require(refusal(of: TinyModel.folder("tiny-llama")))
    #expect(model.contains("a whole model of 4 layers") && model.contains("--target"), "\(model)")
    for json in [
      #"{"architectures": ["Eagle3Speculator"]}"#, #"{"speculators_config": {"algorithm": "eagle3"}}"#,
      #"{"speculators_model_type": "eagle3", "draft_vocab_size": null}"#,
    ] { #expect(try refusal(json)?.contains("transformer_layer_config") == true, "\(json)") }
    #expect(try refusal(#"{"speculators_model_type": "mtp"}"#)?.contains(#"of the kind "mtp""#) == true)
    // The shape of its LM head shows that it is not over the whole vocabulary.
    #expect(try refusal(#"{"draft_vocab_size": null}"#)?.contains("`lm_head.weight` has shape [24, 32]") == true)
    let older = try head.edited(
      scratch, config: { $0["draft_vocab_size"] = nil }, tensors: { $0["midlayer.hidden_norm.weight"] = nil })
    #expect(refusal(of: older)?.contains("EAGLE-1 or EAGLE-2") == true)
    let pickled = try head.edited(scratch)
    try FileManager.default.moveItem(atPath: "\(pickled)/model.safetensors", toPath: "\(pickled)/pytorch_model.bin")
    let message = try #require(refusal(of: pickled))
    #expect(message.contains("pytorch_model.bin") && message.contains("safetensors"), "\(message)")
  }
}
