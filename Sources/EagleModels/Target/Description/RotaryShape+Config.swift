import EagleCore
import Foundation

extension RotaryScaling {
  /// The object of a config's `rope_scaling`.
  package var configValues: [String: Any] {
    switch self {
    case .linear(let factor): ["rope_type": "linear", "factor": factor]
    case .dynamic(let factor, let length):
      ["rope_type": "dynamic", "factor": factor, "original_max_position_embeddings": length]
    case .llama3(let factor, let low, let high, let length):
      [
        "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
        "original_max_position_embeddings": length,
      ]
    case .yarn(let yarn):
      [
        "rope_type": "yarn", "factor": yarn.factor, "original_max_position_embeddings": yarn.originalLength,
        "beta_fast": yarn.fast, "beta_slow": yarn.slow, "truncate": yarn.isTruncated,
        "attention_factor": yarn.attentionFactor,
      ]
    case .longRoPE(let longRoPE):
      [
        "rope_type": "longrope", "short_factor": longRoPE.short, "long_factor": longRoPE.long,
        "original_max_position_embeddings": longRoPE.originalLength, "attention_factor": longRoPE.attentionFactor,
      ]
    }
  }
}

extension ConfigFile {
  /// The keys of a config's rotary embedding: `rope_parameters`, or `rope_scaling` and `rope_theta`.
  ///
  /// - Parameter layerType: the part of parameters that are given for each type of layer
  package func rotaryTable(layerType: String? = nil) throws -> ConfigFile {
    var keys: [String: Any] = [:]
    for key in ["rope_theta", "partial_rotary_factor", Self.originalLength, "max_position_embeddings"] {
      if !isAbsent(key) { keys[key] = values[key] }
    }
    try refuseTwoScalings()
    for key in ["rope_scaling", "rope_parameters"] where !isAbsent(key) {
      guard var table = values[key] as? [String: Any] else { throw wrong(key, "must be an object") }
      if let types = Self.nested(table) {
        guard let layerType, let own = types[layerType] else {
          throw wrong(key, "is given for each type of layer, and not for \"\(layerType ?? "all")\"")
        }
        table = own
      }
      keys.merge(table.filter { !($0.value is NSNull) }) { $1 }
      // As in transformers, a length at the top level has precedence: Phi-3 has it there.
      if !isAbsent(Self.originalLength) { keys[Self.originalLength] = values[Self.originalLength] }
    }
    return ConfigFile(path: path, values: keys)
  }

  private static let originalLength = "original_max_position_embeddings"

  /// Throws where the older and the newer spelling name different scalings.
  private func refuseTwoScalings() throws {
    func type(_ key: String) -> String? {
      guard let table = values[key] as? [String: Any], Self.nested(table) == nil else { return nil }
      return (table["rope_type"] ?? table["type"]) as? String ?? "default"
    }
    guard let older = type("rope_scaling"), let newer = type("rope_parameters"), older != newer else { return }
    throw LocatedError(
      path: path, problem: "`rope_scaling` asks for \"\(older)\", and `rope_parameters` for \"\(newer)\"",
      advice: "keep one of them")
  }

  /// The parameters of each type of layer; nil for one set of them.
  private static func nested(_ table: [String: Any]) -> [String: [String: Any]]? {
    let types = table.compactMapValues { $0 as? [String: Any] }
    return types.isEmpty ? nil : types
  }

  /// The keys of the rotary embedding of a head's config. With dynamic scaling its `max_position_embeddings` is the
  /// context that the head was trained for, and `rope_scaling` names the original length; that of a target is the
  /// original length itself.
  package func headRotaryTable() throws -> ConfigFile {
    let table = try rotaryTable()
    guard try table.scalingType().name == "dynamic", let length = try table.integerIfPresent(Self.originalLength)
    else { return table }
    return ConfigFile(path: path, values: table.values.merging(["max_position_embeddings": length]) { $1 })
  }

  /// The rotary embedding that this table of keys describes.
  package func rotary(headDimension: Int) throws -> RotaryShape {
    let theta = isAbsent("rope_theta") ? 10000 : try number("rope_theta")
    guard theta > 0, theta.isFinite else { throw wrong("rope_theta", "must be above 0") }
    let share = isAbsent("partial_rotary_factor") ? 1 : try number("partial_rotary_factor")
    let rotated = share > 0 && share <= 1 ? Int(Double(headDimension) * share) : 0
    guard rotated > 0, rotated % 2 == 0 else {
      throw wrong("partial_rotary_factor", "must leave an even number of the \(headDimension) elements of a head")
    }
    var shape = RotaryShape(headDimension: headDimension, rotated: rotated, theta: theta)
    shape.scaling = try rotaryScaling(pairs: rotated / 2)
    if !isAbsent("llama_4_scaling_beta") {
      shape.queryGrowth = .init(beta: try number("llama_4_scaling_beta"), length: try originalLength())
    }
    return shape
  }

  /// The key of the scaling's name, and the name.
  private func scalingType() throws -> (key: String, name: String) {
    let key = isAbsent("rope_type") ? "type" : "rope_type"
    return (key, isAbsent(key) ? "default" : try text(key))
  }

  /// The same table for a family that scales by longrope only and has called it `su` and `yarn`, as Phi-3 has.
  func namingLongRoPE() throws -> ConfigFile {
    let (key, name) = try scalingType()
    guard ["default", "longrope", "su", "yarn"].contains(name) else {
      throw LocatedError(
        path: path, problem: "`\(key)` is \"\(name)\", a scaling of the rotary embedding that the family does not have",
        advice: "its scaling is longrope, also by the names su and yarn; download the model's config again")
    }
    return ConfigFile(path: path, values: values.merging(["rope_type": name == "default" ? name : "longrope"]) { $1 })
  }

  private func rotaryScaling(pairs: Int) throws -> RotaryScaling? {
    let (key, type) = try scalingType()
    switch type {
    case "default": return nil
    case "linear": return .linear(factor: try factor())
    case "dynamic": return .dynamic(factor: try factor(), originalLength: try integer("max_position_embeddings"))
    case "llama3": return try llama3()
    case "yarn": return .yarn(try yarn())
    case "longrope", "su": return .longRoPE(try longRoPE(pairs: pairs))
    default:
      throw LocatedError(
        path: path, problem: "`\(key)` is \"\(type)\", a scaling of the rotary embedding that is not computed",
        advice: "default, linear, dynamic, llama3, yarn and longrope are; use another model")
    }
  }

  private func factor() throws -> Double {
    let factor = try number("factor")
    guard factor > 0, factor.isFinite else { throw wrong("factor", "must be above 0") }
    return factor
  }

  private func originalLength() throws -> Int {
    try integerIfPresent(Self.originalLength) ?? integer("max_position_embeddings")
  }

  private func llama3() throws -> RotaryScaling {
    let (low, high) = (try number("low_freq_factor"), try number("high_freq_factor"))
    guard low > 0, high > low else { throw wrong("high_freq_factor", "must be above low_freq_factor, which is \(low)") }
    return .llama3(factor: try factor(), low: low, high: high, originalLength: try originalLength())
  }

  private func yarn() throws -> RotaryScaling.YaRN {
    let length = try originalLength()
    let factor =
      isAbsent("factor") ? Double(try integer("max_position_embeddings")) / Double(length) : try self.factor()
    func scale(_ weight: Double) -> Double { factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1 }
    func optional(_ key: String) throws -> Double? { isAbsent(key) ? nil : try number(key) }
    var attention = try optional("attention_factor") ?? scale(1)
    if isAbsent("attention_factor"), let one = try optional("mscale"), let all = try optional("mscale_all_dim"),
      one != 0, all != 0
    {
      attention = scale(one) / scale(all)
    }
    var yarn = RotaryScaling.YaRN(factor: factor, originalLength: length, attentionFactor: attention)
    if let fast = try optional("beta_fast"), fast != 0 { yarn.fast = fast }
    if let slow = try optional("beta_slow"), slow != 0 { yarn.slow = slow }
    guard yarn.slow > 0, yarn.fast > 0 else { throw wrong("beta_slow", "must be above 0, and beta_fast too") }
    yarn.isTruncated = isAbsent("truncate") || flag("truncate")
    return yarn
  }

  private func longRoPE(pairs: Int) throws -> RotaryScaling.LongRoPE {
    let length = try originalLength()
    let factor =
      isAbsent("factor") ? Double(try integer("max_position_embeddings")) / Double(length) : try self.factor()
    let attention =
      isAbsent("attention_factor")
      ? factor <= 1 ? 1 : (1 + log(factor) / log(Double(length))).squareRoot() : try number("attention_factor")
    func factors(_ key: String) throws -> [Double] {
      let values = (values[key] as? [NSNumber])?.map(\.doubleValue) ?? []
      guard values.count == pairs, values.allSatisfy({ $0 > 0 && $0.isFinite }) else {
        throw wrong(key, "must be a list of \(pairs) numbers above 0, one for each pair of rotated elements")
      }
      return values
    }
    return RotaryScaling.LongRoPE(
      short: try factors("short_factor"), long: try factors("long_factor"), originalLength: length,
      attentionFactor: attention)
  }
}
