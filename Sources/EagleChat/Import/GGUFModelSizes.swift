import EagleCore
import EagleStorage
import Foundation

/// The sizes and constants of a model from its GGUF metadata, checked against what the decoder layer computes.
struct GGUFModelSizes {
  let architecture: GGUFArchitecture
  let layers: Int
  let hidden: Int
  let intermediate: Int
  let heads: Int
  let keyValueHeads: Int
  let headDimension: Int
  let vocabulary: Int
  let maximumPositions: Int
  let ropeTheta: Double
  let normEpsilon: Double

  init(of file: GGUFFile) throws {
    architecture = try GGUFArchitecture(of: file)
    let prefix = architecture.rawValue
    try Self.refuseRopeScaling(file, prefix)
    try Self.refuseVariants(file, prefix)
    layers = try file.int("\(prefix).block_count")
    hidden = try file.int("\(prefix).embedding_length")
    intermediate = try file.int("\(prefix).feed_forward_length")
    heads = try file.int("\(prefix).attention.head_count")
    let keyValueKey = "\(prefix).attention.head_count_kv"
    keyValueHeads = file.contains(key: keyValueKey) ? try file.int(keyValueKey) : heads
    let embedding = try file.info("token_embd.weight").shape
    vocabulary = embedding.first ?? 0
    headDimension = try Self.headDimension(file, prefix, hidden: hidden, heads: heads)
    maximumPositions = try file.int("\(prefix).context_length")
    let thetaKey = "\(prefix).rope.freq_base"
    ropeTheta = file.contains(key: thetaKey) ? Self.decimal(try file.float(thetaKey)) : 10000
    normEpsilon = Self.decimal(try file.float("\(prefix).attention.layer_norm_rms_epsilon"))
    try check(path: file.path, embedding: embedding)
  }

  private func check(path: String, embedding: [Int]) throws {
    let sizes = [layers, hidden, intermediate, heads, keyValueHeads, headDimension, vocabulary, maximumPositions]
    guard sizes.allSatisfy({ 1...(1 << 30) ~= $0 }), heads % keyValueHeads == 0, headDimension % 2 == 0,
      embedding == [vocabulary, hidden], ropeTheta > 0, normEpsilon >= 0
    else {
      throw LocatedError(
        path: path,
        problem: "impossible sizes: \(layers) layers, hidden \(hidden), MLP \(intermediate), \(heads) heads, "
          + "\(keyValueHeads) key-value heads of \(headDimension), embedding \(embedding), context \(maximumPositions)",
        advice: "the file is damaged: copy or download it again")
    }
  }

  private static func headDimension(_ file: GGUFFile, _ prefix: String, hidden: Int, heads: Int) throws -> Int {
    let key = "\(prefix).attention.key_length"
    let dimension = file.contains(key: key) ? try file.int(key) : hidden / max(heads, 1)
    for other in ["\(prefix).attention.value_length", "\(prefix).rope.dimension_count"] where file.contains(key: other)
    {
      guard try file.int(other) == dimension else {
        throw LocatedError(
          path: file.path,
          problem: "`\(other)` is \(try file.int(other)), the head dimension \(dimension): models whose "
            + "values have another width, or that rotate part of a head, cannot be imported")
      }
    }
    return dimension
  }

  private static func refuseRopeScaling(_ file: GGUFFile, _ prefix: String) throws {
    for key in file.metadata.keys.sorted() where key.hasPrefix("\(prefix).rope.scal") {
      let value = file.metadata[key]
      let isNothing = value?.string == "none" || value?.float == 1 || value?.float == 0
      let isContext = key.hasSuffix(".original_context_length") || key.hasSuffix(".finetuned")
      if isNothing || isContext { continue }
      throw scaled(file, "`\(key)`\(value?.string.map { " \($0)" } ?? "")")
    }
    if file.contains(tensor: "rope_freqs.weight") { throw scaled(file, "the tensor `rope_freqs.weight`") }
  }

  private static func scaled(_ file: GGUFFile, _ what: String) -> LocatedError {
    LocatedError(
      path: file.path, problem: "the model scales its rotary positions (\(what)), which is not supported",
      advice: "import a model without rope scaling")
  }

  /// Throws for experts and sliding windows, which change what a layer computes.
  private static func refuseVariants(_ file: GGUFFile, _ prefix: String) throws {
    for key in ["\(prefix).expert_count", "\(prefix).attention.sliding_window"] where file.contains(key: key) {
      guard try file.int(key) != 0 else { continue }
      throw LocatedError(
        path: file.path, problem: "the model uses `\(key)`, which is not supported", advice: "import a dense model")
    }
  }

  /// The decimal number behind a float32 of the file: 1e-05, not 9.999999747378752e-06.
  private static func decimal(_ value: Double) -> Double {
    Double(Float(value).description) ?? value
  }
}
