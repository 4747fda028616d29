import EagleCore
import EagleTensor
import Foundation

// The keys of a target's config that concern single layers.

extension ConfigFile {
  /// What each layer computes.
  func layerShapes(_ facts: FamilyFacts, hiddenSize: Int) throws -> [LayerShape] {
    let count = try integer("num_hidden_layers")
    guard count <= TargetShape.mostLayers else {
      throw wrong("num_hidden_layers", "must be at most \(TargetShape.mostLayers)")
    }
    let plain = try layerShape(facts, hiddenSize: hiddenSize)
    let rotates = try rotatingLayers(facts, count)
    let windows = try windows(facts, count, rotates: rotates)
    let (full, windowed) = (try rotary(facts, plain, hasWindow: false), try rotary(facts, plain, hasWindow: true))
    let isDense = try denseLayers(facts, count)
    return try (0..<count).map { index in
      var layer = plain
      layer.window = windows[index]
      layer.rotary = rotates[index] ? try (windows[index] == nil ? full : windowed).get() : nil
      if isDense[index] {
        layer.feedForward.experts = nil
        layer.feedForward.intermediateSize = try integer("intermediate_size")
      }
      return layer
    }
  }

  /// A layer without a window.
  private func layerShape(_ facts: FamilyFacts, hiddenSize: Int) throws -> LayerShape {
    var layer = LayerShape(
      attention: try attention(hiddenSize: hiddenSize),
      feedForward: FeedForwardShape(
        intermediateSize: try integer(facts.experts?.sizeKey ?? "intermediate_size"),
        activation: try activation(facts), experts: try experts(facts)))
    if facts.multipliers, !isAbsent("attention_multiplier") {
      layer.attention.ownScale = try multiplier("attention_multiplier")
    }
    if let key = facts.attentionScalarKey {
      let scalar = try number(key)
      guard scalar > 0, scalar.isFinite else { throw wrong(key, "must be above 0") }
      layer.attention.ownScale = Float(1 / scalar.squareRoot())
    }
    if facts.capsScores { layer.attention.softcap = try softcap("attn_logit_softcapping") }
    layer.queryKeyNorm = facts.queryKeyNorm
    layer.hasSinks = facts.hasSinks
    layer.biases = .init(
      queryKeyValue: isOn(facts.queryKeyValueBias), output: isOn(facts.outputBias),
      feedForward: isOn(facts.feedForwardBias))
    layer.norms = facts.norms.placement
    layer.residualScale = facts.multipliers ? try multiplier("residual_multiplier") : 1
    return layer
  }

  private func activation(_ facts: FamilyFacts) throws -> GateActivation {
    if facts.hasClippedSiLU {
      return .clippedSiLU(limit: isAbsent("swiglu_limit") ? 7 : try multiplier("swiglu_limit"))
    }
    let keys = ["hidden_act", "hidden_activation"].filter { !isAbsent($0) }
    guard let key = keys.last else { return facts.scalesEmbedding ? .geluTanh : .silu }
    switch try text(key) {
    case "silu", "swish": return .silu
    case "gelu_pytorch_tanh": return .geluTanh
    // Gemma's first configs say "gelu" and mean the approximation by tanh.
    case "gelu" where facts.scalesEmbedding: return .geluTanh
    default: throw refuse("the activation \"\(try text(key))\" (`\(key)`)")
    }
  }

  private func experts(_ facts: FamilyFacts) throws -> ExpertShape? {
    guard let experts = facts.experts else { return nil }
    let key = isAbsent(experts.countKey) ? "num_local_experts" : experts.countKey
    let count = try integer(key)
    let perToken = try integer("num_experts_per_tok")
    guard perToken <= count else {
      throw wrong("num_experts_per_tok", "must be at most `\(key)`, which is \(count)")
    }
    guard count <= 4096 else { throw wrong(key, "must be at most 4096") }
    return ExpertShape(count: count, perToken: perToken, isNormalized: isOn(experts.isNormalized))
  }

  /// Whether a layer of a family with experts has none.
  private func denseLayers(_ facts: FamilyFacts, _ count: Int) throws -> [Bool] {
    guard let experts = facts.experts, experts.hasDenseLayers else { return [Bool](repeating: false, count: count) }
    let step = try integerIfPresent("decoder_sparse_step") ?? 1
    let listed = Set((values["mlp_only_layers"] as? [NSNumber])?.map(\.intValue) ?? [])
    return (0..<count).map { listed.contains($0) || ($0 + 1) % step != 0 }
  }

  // MARK: rotary embedding

  /// Which layers have a rotary embedding.
  private func rotatingLayers(_ facts: FamilyFacts, _ count: Int) throws -> [Bool] {
    guard facts.mayOmitRotary else { return [Bool](repeating: true, count: count) }
    if !isAbsent("no_rope_layers") {
      let list = (values["no_rope_layers"] as? [NSNumber])?.map(\.boolValue) ?? []
      guard list.count == count else { throw wrong("no_rope_layers", "must be a list of \(count) numbers, 0 or 1") }
      return list
    }
    let interval = try integerIfPresent("no_rope_layer_interval") ?? 4
    return (0..<count).map { ($0 + 1) % interval != 0 }
  }

  /// The rotary embedding of a type of layer, or why it has none: a config need not describe a type that no layer has.
  private func rotary(
    _ facts: FamilyFacts, _ layer: LayerShape, hasWindow: Bool
  ) throws -> Result<RotaryShape, LocatedError> {
    do {
      let isNested = (values["rope_parameters"] as? [String: Any])?.values.contains { $0 is [String: Any] } ?? false
      var table = try rotaryTable(
        layerType: isNested ? (hasWindow ? "sliding_attention" : "full_attention") : nil)
      if hasWindow, !isNested { table = try unscaled(table, facts.windowRotary) }
      if facts.scalesByLongRoPEOnly { table = try table.namingLongRoPE() }
      var shape = try table.rotary(headDimension: layer.attention.headDimension)
      shape.isInterleaved = facts.hasInterleavedRotary
      return .success(shape)
    } catch let error as LocatedError {
      return .failure(error)
    }
  }

  private func unscaled(_ table: ConfigFile, _ rule: FamilyFacts.WindowRotary) throws -> ConfigFile {
    var keys = table.values
    switch rule {
    case .same: return table
    case .unscaled: break
    case .unscaledTheta(let key, let standard): keys["rope_theta"] = isAbsent(key) ? standard : try number(key)
    }
    (keys["rope_type"], keys["type"]) = ("default", nil)
    return ConfigFile(path: path, values: keys)
  }

  // MARK: windows

  /// The window of each layer; nil for none.
  private func windows(_ facts: FamilyFacts, _ count: Int, rotates: [Bool]) throws -> [Int?] {
    let none = [Int?](repeating: nil, count: count)
    guard let rule = facts.window else { return try checkTypes(none) }
    let isOptional =
      switch rule {
      case .allIfUsed, .fromMaxWindowLayers, .withoutRotary: true
      default: false
      }
    let isUsed = isAbsent("use_sliding_window") ? !isOptional : flag("use_sliding_window")
    let window = isUsed && !isAbsent("sliding_window") ? try integer("sliding_window") : nil
    if isOptional, !isUsed { return none }
    if !isAbsent("layer_types") { return try windowsByType(count, window) }
    guard let window else { return none }
    return try windowedLayers(rule, count, rotates: rotates).map { $0 ? window : nil }
  }

  private func windowedLayers(_ rule: FamilyFacts.WindowRule, _ count: Int, rotates: [Bool]) throws -> [Bool] {
    switch rule {
    case .all, .allIfUsed: return [Bool](repeating: true, count: count)
    case .withoutRotary: return rotates.map { !$0 }
    case .fromMaxWindowLayers:
      // 0 is allowed here, and `integer` rejects it.
      let first = isAbsent("max_window_layers") ? 28 : try number("max_window_layers")
      return (0..<count).map { Double($0) >= first }
    case .allButEvery(let standard, let key):
      let keys = [key, key.map { "_" + $0 }].compactMap { $0 }
      let interval = try keys.first { !isAbsent($0) }.map { try integer($0) } ?? standard
      return (0..<count).map { ($0 + 1) % interval != 0 }
    }
  }

  private func layerTypes(_ count: Int) throws -> [String] {
    let types = values["layer_types"] as? [String] ?? []
    guard types.count == count else {
      throw wrong("layer_types", "must be a list of \(count) types, as many as num_hidden_layers says")
    }
    for type in types where !["full_attention", "sliding_attention"].contains(type) {
      throw refuse("layers of the type \"\(type)\" (`layer_types`)")
    }
    return types
  }

  private func windowsByType(_ count: Int, _ window: Int?) throws -> [Int?] {
    try layerTypes(count).map { type in
      guard type == "sliding_attention" else { return nil }
      guard let window else { throw wrong("sliding_window", "`layer_types` has layers with a window") }
      return window
    }
  }

  /// The windows of a family without any, whose config must not have them.
  private func checkTypes(_ none: [Int?]) throws -> [Int?] {
    if !isAbsent("layer_types"), try layerTypes(none.count).contains("sliding_attention") {
      throw refuse("a sliding attention window (`layer_types`)")
    }
    return none
  }
}
