import EagleCore
import EagleStorage
import Foundation

/// The rotary embedding of a GGUF model, as keys of config.json.
struct GGUFRotary {
  let theta: Double
  /// The base of layers with a window, where the file has one of its own.
  let windowTheta: Double?
  /// Rotated columns of a head.
  let dimensions: Int
  /// `rope_scaling`; nil without one.
  let scaling: [String: JSON]?
  /// Tensors of rotary factors, which become part of the scaling.
  static let tensors = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"]

  init(of file: GGUFFile, _ sizes: GGUFModelSizes) throws {
    let keys = GGUFKeys(file: file, prefix: sizes.architecture.rawValue)
    theta = try keys.decimalIfPresent("rope.freq_base") ?? 10000
    windowTheta = try keys.decimalIfPresent("rope.freq_base_swa")
    dimensions = try keys.intIfPresent("rope.dimension_count") ?? sizes.headDimension
    guard theta > 0, windowTheta ?? 1 > 0 else {
      throw LocatedError(path: file.path, problem: "`\(keys.name("rope.freq_base"))` must be above 0")
    }
    let isWhole = dimensions == sizes.headDimension
    guard isWhole || sizes.facts.mayRotateInPart, 2...sizes.headDimension ~= dimensions, dimensions % 2 == 0 else {
      throw LocatedError(
        path: file.path,
        problem: "`\(keys.name("rope.dimension_count"))` is \(dimensions), the head dimension \(sizes.headDimension): "
          + "\(sizes.architecture.rawValue) models that rotate part of a head are not computed")
    }
    scaling = try Scaling(keys: keys, sizes: sizes, theta: theta, pairs: dimensions / 2).values()
  }
}

/// The scaling of rotary positions, from metadata and tensors.
private struct Scaling {
  let keys: GGUFKeys
  let sizes: GGUFModelSizes
  let theta: Double
  let pairs: Int

  func values() throws -> [String: JSON]? {
    try checkKeys()
    if keys.file.contains(tensor: "rope_factors_long.weight") { return try longRoPE() }
    if keys.file.contains(tensor: "rope_freqs.weight") { return try factors() }
    let type = keys.contains("rope.scaling.type") ? try keys.file.string(keys.name("rope.scaling.type")) : "none"
    switch type {
    case "none": return nil
    case "linear":
      let factor = try keys.decimal("rope.scaling.factor")
      return factor == 1 ? nil : ["rope_type": "linear", "factor": .decimal(factor)]
    case "yarn": return try yarn()
    default: throw unsupported("`\(keys.name("rope.scaling.type"))` \(type)")
    }
  }

  /// Throws for a key that is not read: without it the scaling would be wrong.
  private func checkKeys() throws {
    var known: Set = ["type", "factor", "original_context_length", "finetuned"]
    let type = keys.contains("rope.scaling.type") ? try keys.file.string(keys.name("rope.scaling.type")) : "none"
    if type == "yarn" {
      known.formUnion(["yarn_beta_fast", "yarn_beta_slow", "yarn_attn_factor", "yarn_log_multiplier"])
    }
    if keys.file.contains(tensor: "rope_factors_long.weight") { known.insert("attn_factor") }
    if type == "none" { known.remove("factor") }
    for key in keys.file.metadata.keys.sorted() where key.hasPrefix(keys.name("rope.scal")) {
      let value = keys.file.metadata[key]
      let isNothing = value?.string == "none" || value?.float == 1 || value?.float == 0
      if isNothing || known.contains(key.replacing(keys.name("rope.scaling."), with: "")) { continue }
      throw unsupported("`\(key)`\(value?.string.map { " \($0)" } ?? "")")
    }
  }

  private func unsupported(_ what: String) -> LocatedError {
    LocatedError(
      path: keys.file.path, problem: "the model scales its rotary positions (\(what)), which is not supported",
      advice: "linear, yarn, longrope and llama3 scaling are")
  }

  private func yarn() throws -> [String: JSON] {
    var values: [String: JSON] = [
      "rope_type": "yarn", "factor": .decimal(try keys.decimal("rope.scaling.factor")),
      "original_max_position_embeddings": JSON(
        try keys.intIfPresent("rope.scaling.original_context_length") ?? sizes.maximumPositions),
      "beta_fast": .decimal(try keys.decimalIfPresent("rope.scaling.yarn_beta_fast") ?? 32),
      "beta_slow": .decimal(try keys.decimalIfPresent("rope.scaling.yarn_beta_slow") ?? 1),
    ]
    if let factor = try keys.decimalIfPresent("rope.scaling.yarn_attn_factor") {
      values["attention_factor"] = .decimal(factor)
    }
    if let multiplier = try keys.decimalIfPresent("rope.scaling.yarn_log_multiplier"), multiplier != 0 {
      (values["mscale"], values["mscale_all_dim"]) = (.decimal(1), .decimal(multiplier))
    }
    // Published gpt-oss models do not round these bounds; their GGUF files do not say so.
    if sizes.family == .gptOSS { values["truncate"] = false }
    return values
  }

  private func longRoPE() throws -> [String: JSON] {
    let original = try keys.int("rope.scaling.original_context_length")
    guard original > 1 else { throw unsupported("an original context of \(original)") }
    var values: [String: JSON] = [
      "rope_type": "longrope", "long_factor": Self.list(try values(of: "rope_factors_long.weight")),
      "short_factor": Self.list(try values(of: "rope_factors_short.weight")),
      "original_max_position_embeddings": JSON(original),
    ]
    let growth = Double(sizes.maximumPositions) / Double(original)
    let usual = growth <= 1 ? 1 : (1 + log(growth) / log(Double(original))).squareRoot()
    if let factor = try keys.decimalIfPresent("rope.scaling.attn_factor"), abs(factor - usual) > 1e-6 * usual {
      values["attention_factor"] = .decimal(factor)
    }
    return values
  }

  /// The divisors of the frequencies of `rope_freqs.weight`: those of Llama 3.1 and later if they are the same, and
  /// else a longrope scaling with these divisors at any length.
  private func factors() throws -> [String: JSON]? {
    let factors = try values(of: "rope_freqs.weight")
    guard let largest = factors.max(), largest != 1 || factors.contains(where: { $0 != 1 }) else { return nil }
    if let values = llama3(factors, factor: largest.rounded()) { return values }
    return [
      "rope_type": "longrope", "long_factor": Self.list(factors), "short_factor": Self.list(factors),
      "attention_factor": .decimal(1), "original_max_position_embeddings": JSON(sizes.maximumPositions),
    ]
  }

  private func llama3(_ factors: [Double], factor: Double) -> [String: JSON]? {
    let (low, high, length) = (1.0, 4.0, 8192)
    for (index, divisor) in factors.enumerated() {
      let frequency = pow(theta, -Double(index) / Double(factors.count))
      let turns = Double(length) * frequency / (2 * .pi)
      let share = min(max((turns - low) / (high - low), 0), 1)
      guard abs(divisor * ((1 - share) / factor + share) - 1) < 1e-4 else { return nil }
    }
    return [
      "rope_type": "llama3", "factor": .decimal(factor), "low_freq_factor": .decimal(low),
      "high_freq_factor": .decimal(high), "original_max_position_embeddings": JSON(length),
    ]
  }

  private static func list(_ values: [Double]) -> JSON { .array(values.map { .decimal($0) }) }

  private func values(of tensor: String) throws -> [Double] {
    let info = try keys.file.info(tensor)
    guard info.shape == [pairs] else {
      throw LocatedError(
        path: keys.file.path, problem: "tensor `\(tensor)` has the shape \(info.shape), not [\(pairs)]",
        advice: "the file is damaged: copy or download it again")
    }
    let values = try keys.file.floats(tensor)
    guard values.allSatisfy({ $0.isFinite && $0 > 0 }) else {
      throw LocatedError(path: keys.file.path, problem: "tensor `\(tensor)` has values that are not above 0")
    }
    return values.map { Double($0.description) ?? Double($0) }
  }
}
