import EagleCore
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

@Suite struct TargetTests {
  private func relativeError(_ values: [Float], _ reference: [Double]) -> Double {
    let difference = zip(values, reference).reduce(0.0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
    return (difference / reference.reduce(0.0) { $0 + $1 * $1 }).squareRoot()
  }

  /// Columns of one captured layer.
  private func layer(_ aux: Tensor, _ slot: Int, hidden: Int) -> [Float] {
    (0..<aux.rows).flatMap { row in
      (0..<hidden).map { aux.values[row * aux.columns + slot * hidden + $0] }
    }
  }

  @Test("states and logits agree with transformers", arguments: TinyModel.names)
  func parity(name: String) throws {
    let expected = try TinyModel.load(name)
    let model = try TinyModel.target(name)
    for kind in [TargetModel.PassKind.prefill, .decode] {
      let states = model.run(
        kind, expected.ids, segments: [Segment(rows: 0..<expected.ids.count)], captureLayers: expected.layers)
      let last = Rows.gather(states.lastHidden, expected.logits_rows.map(Int32.init))
      var errors = (0..<3).map { slot in
        let values = layer(states.auxHidden!, slot, hidden: model.shape.hiddenSize)
        return relativeError(values, expected.hidden_states[slot].flatMap { $0 })
      }
      let norm = states.lastHidden.values.map { $0 * model.shape.logitsDivisor }
      errors.append(relativeError(norm, expected.final_norm.flatMap { $0 }))
      errors.append(relativeError(model.logits(last).values, expected.logits.flatMap { $0 }))
      // because: float32 on both sides, four to six layers
      #expect(errors.allSatisfy { $0 < 1e-5 }, "\(errors)")
      try report("\(name) \(kind)", errors.max() ?? 0)
    }
  }

  /// Writes the error of a model to a file of its own, in the folder that EAGLE_PARITY_REPORT names.
  private func report(_ name: String, _ error: Double) throws {
    guard let folder = ProcessInfo.processInfo.environment["EAGLE_PARITY_REPORT"] else { return }
    try "\(name) \(error)\n".write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8)
  }

  @Test("the likeliest tokens, one after the other, are those of transformers", arguments: TinyModel.names)
  func greedy(name: String) throws {
    let expected = try TinyModel.load(name)
    // because: transformers would change the frequencies with every token
    guard !name.contains("dynamic-long") else { return }
    let model = try TinyModel.target(name)
    let cache = model.makeCache(capacity: 200)
    var (next, written) = (expected.ids, [Int32]())
    while written.count < expected.greedy.count {
      let segments = [Segment(rows: 0..<next.count, cache: cache)]
      let states = model.run(written.isEmpty ? .prefill : .decode, next, segments: segments, captureLayers: [])
      let logits = model.logits(states.lastHidden.slice(next.count - 1..<next.count))
      next = [Int32(logits.argmax()[0])]
      written += next
    }
    #expect(written == expected.greedy)
  }

  @Test(
    "states have the same bits in one pass, in chunks through a cache, and beside another sequence",
    arguments: TinyModel.names, ComputePrecision.allCases)
  func batchInvariance(name: String, precision: ComputePrecision) throws {
    try expectBatchInvariance(TinyModel.target(name, precision: precision, cache: .fp32), TinyModel.load(name).ids)
    try expectBatchInvariance(TinyModel.target(name, precision: precision, cache: .bf16), TinyModel.load(name).ids)
  }

  private func expectBatchInvariance(_ model: TargetModel, _ ids: [Int32]) {
    let count = ids.count
    // A pass without KV caches reads keys and values that are not rounded.
    func segment(_ rows: Range<Int>) -> Segment {
      Segment(rows: rows, cache: model.cacheFormat == .fp32 ? nil : model.makeCache(capacity: count))
    }
    let whole = model.decode(ids, segments: [segment(0..<count)], captureLayers: []).lastHidden.values
    let cache = model.makeCache(capacity: count)
    var chunks: [Float] = []
    for chunk in [0..<5, 5..<6, 6..<count] {
      chunks +=
        model.decode(
          Array(ids[chunk]), segments: [Segment(rows: 0..<chunk.count, cache: cache)], captureLayers: []
        ).lastHidden.values
    }
    #expect(chunks == whole)
    let packed = model.decode(
      [7, 8, 9] + ids, segments: [segment(0..<3), segment(3..<3 + count)], captureLayers: [])
    #expect(packed.lastHidden.slice(3..<3 + count).values == whole)
  }

  @Test("each path of a tree has the bits of its tokens in a plain sequence", arguments: TinyModel.names)
  func trees(name: String) throws {
    let ids = try TinyModel.load(name).ids
    let model = try TinyModel.target(name)
    // Two children of the root, three of the first, one of the last: 11 rows, deeper than the windows' last key.
    let tree = RowTree(parents: [-1, 0, 0, 1, 1, 1, 5, 6, 7, 8, 9])
    let tokens = (0..<tree.count).map { ids[($0 * 5 + 3) % ids.count] }
    for prefix in [1, 4, ids.count] {
      let cache = model.makeCache(capacity: 100)
      func run(_ ids: [Int32], _ tree: RowTree?) -> Tensor {
        let rows = 0..<ids.count
        let segment = tree.map { Segment(rows: rows, cache: cache, tree: $0) } ?? Segment(rows: rows, cache: cache)
        return model.decode(ids, segments: [segment], captureLayers: []).lastHidden
      }
      _ = run(Array(ids.prefix(prefix)), nil)
      let states = run(tokens, tree)
      for path in [tree.paths[2], tree.paths[4], tree.paths[10]] {
        cache.truncate(to: prefix)
        let plain = run(path.map { tokens[$0] }, nil)
        #expect(plain.values == path.flatMap { states.slice($0..<$0 + 1).values }, "\(path) behind \(prefix)")
      }
    }
  }

  @Test("reading the weights reads every matrix of a decoding pass once", arguments: TinyModel.names)
  func reading(name: String) throws {
    let model = try TinyModel.target(name)
    let folder = try SafetensorsFolder(path: TinyModel.folder(name))
    let isTied = model.head.storage === model.embedding.storage && model.head.byteOffset == model.embedding.byteOffset
    let experts = model.shape.layerShapes.lazy.compactMap(\.feedForward.experts).first
    var (bytes, sum) = (0, UInt64(0))
    for tensor in folder.names where isTied || !tensor.hasSuffix("embed_tokens.weight") {
      let stored = try folder.tensor(tensor)
      let isExpert = tensor.contains(".experts.") && !tensor.hasSuffix("_bias")
      guard !tensor.contains("vision") && !tensor.contains("projector") else { continue }
      guard stored.shape.count == 2 && !tensor.hasSuffix("_bias") || isExpert else { continue }
      bytes += isExpert ? stored.byteCount * (experts?.perToken ?? 0) / (experts?.count ?? 1) : stored.byteCount
      stored.rawBytes.withMemoryRebound(to: UInt64.self) { words in sum = words.reduce(sum, &+) }
    }
    #expect(model.weightBytes == bytes)
    if model.shape.layerShapes.allSatisfy({ $0.feedForward.experts == nil }) { #expect(model.readWeights() == sum) }
  }

  @Test("entries that were dropped from a cache change nothing")
  func droppedEntries() throws {
    let model = try TargetModel(folder: TinyModel.folder("tiny-llama"))
    func last(_ cache: KVCache, _ ids: [Int32]) -> [Float] {
      let states = model.decode(ids, segments: [Segment(rows: 0..<ids.count, cache: cache)], captureLayers: [])
      return states.lastHidden.slice(ids.count - 1..<ids.count).values
    }
    let (straight, detour) = (model.makeCache(capacity: 64), model.makeCache(capacity: 64))
    _ = last(straight, [5, 6, 7])
    _ = last(detour, [5, 6, 7, 40, 41])
    detour.truncate(to: 3)
    #expect(last(straight, [8]) == last(detour, [8]))
  }

  @Test(
    "a config that asks for another computation is refused by name",
    arguments: [
      ("rope_parameters", ["rope_type": "proportional"] as [String: any Sendable] as any Sendable, "proportional"),
      ("rope_scaling", ["rope_type": "linear", "factor": 4.0] as [String: any Sendable], "rope_parameters"),
      ("rope_parameters", ["rope_type": "linear"] as [String: any Sendable], "factor"),
      ("sliding_window", 64, "sliding"), ("num_experts", 8, "experts"),
      ("quantization_config", ["bits": 4], "quantised"), ("hidden_act", "gelu", "activation"),
      ("clip_qkv", 8.0, "clip_qkv"), ("num_hidden_layers", 5000, "num_hidden_layers"),
      ("layer_types", ["sliding_attention"], "layer_types"), ("model_type", "gemma", "model_type"),
      ("model_type", "qwen3_next", "gated delta nets"),
    ])
  func refusedConfigs(key: String, value: any Sendable, word: String) throws {
    let scratch = try ModelScratch()
    let folder = try scratch.copy(of: "tiny-llama") { $0[key] = value }
    let error = #expect(throws: LocatedError.self) { try TargetModel(folder: folder) }
    #expect(error?.description.contains(word) == true && error?.path.hasSuffix("config.json") == true)
  }

  @Test(
    "a value of a family's key that makes no sense is refused by the key's name",
    arguments: [
      ("tiny-mistral", "sliding_window", 0, "sliding_window"), ("tiny-mixtral", "num_experts_per_tok", 99, "at most"),
      ("tiny-mixtral", "num_local_experts", 1 << 20, "num_local_experts"),
      ("tiny-phi3-short", "partial_rotary_factor", 2.5, "partial_rotary_factor"),
      ("tiny-phi3-short", "intermediate_size", 37, "gate_up_proj"),
      ("tiny-phi3-long", "rope_scaling", ["type": "linear", "factor": 2.0] as [String: any Sendable], "longrope"),
      ("tiny-phi3-long", "rope_scaling", ["type": "yarn", "factor": 2.0] as [String: any Sendable], "short_factor"),
      ("tiny-gemma2", "query_pre_attn_scalar", -1, "query_pre_attn_scalar"),
      ("tiny-gemma2", "final_logit_softcapping", 0, "final_logit_softcapping"),
      ("tiny-gemma2", "layer_types", ["chunked_attention"], "layer_types"),
      ("tiny-granite", "logits_scaling", 0, "logits_scaling"),
      ("tiny-smollm3", "no_rope_layers", [1], "no_rope_layers"),
      ("tiny-olmo2", "sliding_window", 8, "sliding"),
      ("tiny-qwen3-moe", "quantization_config", ["bits": 4], "quantised"),
    ] as [(String, String, any Sendable, String)])
  func refusedValues(name: String, key: String, value: any Sendable, word: String) throws {
    let scratch = try ModelScratch()
    let folder = try scratch.copy(of: name) { $0[key] = value }
    let error = #expect(throws: LocatedError.self) { try TargetModel(folder: folder) }
    #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
  }

  @Test(
    "numbers of any size in a config end in an error or a model, and never stop the program",
    arguments: ["max_window_layers", "sliding_window", "factor"])
  func hugeNumbers(key: String) throws {
    let scratch = try ModelScratch()
    for (index, value) in [1e300, -1e300, 1e18].enumerated() {
      let name = key == "factor" ? "tiny-llama-dynamic" : "tiny-qwen2-window"
      let folder = try scratch.copy(of: name) { config in
        guard key == "factor" else {
          config[key] = value
          return
        }
        let table = ["rope_scaling", "rope_parameters"].first { config[$0] is [String: Any] } ?? "rope_scaling"
        config[table] = (config[table] as? [String: Any] ?? [:]).merging([key: value]) { $1 }
      }
      do {
        let shape = try TargetShape(folder: folder, context: 1 << 29)
        #expect(shape.maxPositions > 0)
      } catch let error as LocatedError {
        #expect(error.description.contains(key))
      }
      try FileManager.default.moveItem(atPath: folder, toPath: "\(folder)-\(index)")
    }
  }

  @Test("states of a longer text's rotary embedding have another fingerprint")
  func fingerprintsOfContexts() throws {
    let folder = TinyModel.folder("tiny-phi3-long")
    let prints = try [nil, 4, 24, 40].map { try TargetModel(folder: folder, context: $0).fingerprint }
    #expect(prints[0] == prints[1] && Set(prints).count == 3)
    let other = TinyModel.folder("tiny-llama")
    #expect(try TargetModel(folder: other).fingerprint == TargetModel(folder: other, context: 20).fingerprint)
  }

  @Test("a weight that does not fit the config is named")
  func misshapenWeights() throws {
    let scratch = try ModelScratch()
    let folder = try scratch.copy(of: "tiny-llama") { $0["intermediate_size"] = 56 }
    let error = #expect(throws: LocatedError.self) { try TargetModel(folder: folder) }
    #expect(error?.description.contains("mlp.gate_proj.weight") == true)
    #expect(throws: LocatedError.self) { try TargetModel(folder: "\(scratch.path)/nowhere") }
  }

  @Test("sharded weights give the states of one file")
  func shardedWeights() throws {
    let scratch = try ModelScratch()
    let folder = try scratch.copy(of: "tiny-llama") { _ in }
    let source = try SafetensorsFile(path: "\(folder)/model.safetensors")
    let halves = [Array(source.names.prefix(10)), Array(source.names.dropFirst(10))]
    var map: [String: String] = [:]
    for (index, names) in halves.enumerated() {
      let file = "model-0000\(index + 1)-of-00002.safetensors"
      try SafetensorsWriter.write(path: "\(folder)/\(file)", tensors: try names.map { ($0, try source.tensor($0)) })
      for name in names { map[name] = file }
    }
    try JSONSerialization.data(withJSONObject: ["weight_map": map])
      .write(to: URL(fileURLWithPath: "\(folder)/model.safetensors.index.json"))
    try FileManager.default.removeItem(atPath: "\(folder)/model.safetensors")
    func states(_ folder: String) throws -> [Float] {
      try TargetModel(folder: folder).prefill([1, 2, 3], segments: [Segment(rows: 0..<3)], captureLayers: [])
        .lastHidden.values
    }
    #expect(try states(folder) == states(TinyModel.folder("tiny-llama")))
  }

  @Test("captured layers must be one to eight distinct, increasing layers of the target")
  func captureLayers() throws {
    let shape = try TargetShape(folder: TinyModel.folder("tiny-llama"))
    for layers in [[0, 1, 3], [2], [0, 1, 2, 3]] { try shape.validate(captureLayers: layers, path: "recipe") }
    for layers in [[], [1, 1, 2], [0, 2, 1], [0, 1, 4]] {
      #expect(throws: LocatedError.self) { try shape.validate(captureLayers: layers, path: "recipe") }
    }
  }
}
