import EagleCore
import EagleStorage
import Foundation

/// The sizes of a model from its GGUF metadata.
struct GGUFModelSizes: Sendable {
  /// The experts of a layer.
  struct Experts: Sendable {
    let count: Int
    let perToken: Int
    let intermediate: Int
  }

  let architecture: GGUFArchitecture
  let family: TargetFamily
  let layers: Int
  let hidden: Int
  let intermediate: Int
  let heads: Int
  let keyValueHeads: Int
  let headDimension: Int
  let vocabulary: Int
  let maximumPositions: Int
  let normEpsilon: Double
  let experts: Experts?

  var facts: GGUFFacts { .of(family) }
  var queryWidth: Int { heads * headDimension }
  var keyWidth: Int { keyValueHeads * headDimension }

  init(of file: GGUFFile) throws {
    architecture = try GGUFArchitecture(of: file)
    family = try architecture.family(of: file)
    let keys = GGUFKeys(file: file, prefix: architecture.rawValue)
    layers = try keys.int("block_count")
    hidden = try keys.int("embedding_length")
    intermediate = try keys.int("feed_forward_length")
    heads = try keys.int("attention.head_count")
    keyValueHeads = try keys.intIfPresent("attention.head_count_kv") ?? heads
    let embedding = try file.info("token_embd.weight").shape
    vocabulary = embedding.first ?? 0
    headDimension = try Self.headDimension(keys, hidden: hidden, heads: heads)
    maximumPositions = try keys.int("context_length")
    normEpsilon = try keys.decimal("attention.layer_norm_rms_epsilon")
    experts = try Self.experts(keys, family, intermediate: intermediate)
    try check(path: file.path, embedding: embedding)
  }

  private func check(path: String, embedding: [Int]) throws {
    let sizes = [layers, hidden, intermediate, heads, keyValueHeads, headDimension, vocabulary, maximumPositions]
    guard sizes.allSatisfy({ 1...(1 << 30) ~= $0 }), heads % keyValueHeads == 0, headDimension % 2 == 0,
      layers <= 1 << 16, embedding == [vocabulary, hidden], normEpsilon >= 0
    else {
      throw LocatedError(
        path: path,
        problem: "impossible sizes: \(layers) layers, hidden \(hidden), MLP \(intermediate), \(heads) heads, "
          + "\(keyValueHeads) key-value heads of \(headDimension), embedding \(embedding), context \(maximumPositions)",
        advice: "the file is damaged: copy or download it again")
    }
  }

  private static func headDimension(_ keys: GGUFKeys, hidden: Int, heads: Int) throws -> Int {
    let dimension = try keys.intIfPresent("attention.key_length") ?? hidden / max(heads, 1)
    if let width = try keys.intIfPresent("attention.value_length"), width != dimension {
      throw LocatedError(
        path: keys.file.path,
        problem: "`\(keys.name("attention.value_length"))` is \(width), the head dimension \(dimension): models whose "
          + "values have another width are not computed")
    }
    return dimension
  }

  /// The experts of a family that has them; throws for another family's, which change what a layer computes.
  private static func experts(_ keys: GGUFKeys, _ family: TargetFamily, intermediate: Int) throws -> Experts? {
    if case .none = GGUFFacts.of(family).experts {
      guard try keys.intIfPresent("expert_count") ?? 0 == 0 else {
        throw LocatedError(
          path: keys.file.path, problem: "the model uses `\(keys.name("expert_count"))`, which is not supported",
          advice: "take a dense model")
      }
      return nil
    }
    let (count, perToken) = (try keys.int("expert_count"), try keys.int("expert_used_count"))
    let width = try keys.intIfPresent("expert_feed_forward_length") ?? intermediate
    guard 1...4096 ~= count, 1...count ~= perToken, 1...(1 << 30) ~= width else {
      throw LocatedError(
        path: keys.file.path, problem: "impossible experts: \(perToken) of \(count), \(width) wide",
        advice: "the file is damaged: copy or download it again")
    }
    return Experts(count: count, perToken: perToken, intermediate: width)
  }
}

/// The metadata of a file's architecture: keys without its name.
struct GGUFKeys {
  let file: GGUFFile
  let prefix: String

  func name(_ key: String) -> String { "\(prefix).\(key)" }
  func contains(_ key: String) -> Bool { file.contains(key: name(key)) }
  func int(_ key: String) throws -> Int { try file.int(name(key)) }
  func intIfPresent(_ key: String) throws -> Int? { contains(key) ? try int(key) : nil }
  func decimalIfPresent(_ key: String) throws -> Double? { contains(key) ? try decimal(key) : nil }

  /// The shortest decimal number of a float32 in the file: 1e-05, not 9.999999747378752e-06.
  func decimal(_ key: String) throws -> Double {
    let value = try file.float(name(key))
    guard value.isFinite else {
      throw LocatedError(path: file.path, problem: "metadata key `\(name(key))` is \(value)")
    }
    return Double(Float(value).description) ?? value
  }
}
