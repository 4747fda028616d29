import EagleCore
import EagleModels
import Foundation

extension DraftConfigFile {
  /// Reads and checks the config of a head for `target`.
  ///
  /// - Parameter tensors: the names of the head's tensors; those of the first layer without its prefix
  /// - Throws: `LocatedError` for a folder that is no head, a head for another target, and by name for everything that
  ///   this program does not compute
  static func shape(folder: String, target: TargetShape, tensors: Set<String>) throws -> Eagle3Shape {
    let config = try HeadConfig(folder: folder)
    let file = config.file
    try file.refuseUncomputedHead()
    try config.refuseVariants()
    let hidden = try file.integer("hidden_size")
    let width = try file.integerIfPresent("target_hidden_size") ?? hidden
    guard width == target.hiddenSize, try file.integer("vocab_size") == target.vocabularySize else {
      throw LocatedError(
        path: file.path, problem: "this head is for another target: the width of its states or vocab_size differ",
        advice: "the target has hidden_size \(target.hiddenSize) and vocab_size \(target.vocabularySize)")
    }
    let attention = try file.attention(hiddenSize: hidden)
    var shape = Eagle3Shape(
      hiddenSize: hidden, attention: attention,
      intermediateSize: try file.integer("intermediate_size"), vocabularySize: target.vocabularySize,
      draftVocabularySize: try file.integerIfPresent("draft_vocab_size") ?? target.vocabularySize,
      normEpsilon: Float(try file.number("rms_norm_eps")),
      ropeTheta: try file.headRopeTheta(),
      maxPositions: try file.integerIfPresent("max_position_embeddings") ?? target.maxPositions,
      captureLayers: try captureLayers(config, target))
    shape.ropeScaling = try file.headRotaryTable().rotary(headDimension: attention.headDimension).scaling
    shape.layers = try config.layers(tensors: tensors)
    shape.variant = try config.variant(hidden: hidden, width: width, tensors: tensors)
    return shape
  }

  /// The layers whose outputs the head reads, 0-based: `eagle_config` holds these ids, the top level ids that are one
  /// larger.
  private static func captureLayers(_ config: HeadConfig, _ target: TargetShape) throws -> [Int] {
    let file = config.file
    let after = try layers(file.table("eagle_config")?[layerIDs], "eagle_config.\(layerIDs)", file)
    let before = try layers(file.values[layerIDs], layerIDs, file)?.map { $0 - 1 }
    if let after, let before, after != before {
      throw LocatedError(
        path: file.path,
        problem: "`eagle_config.\(layerIDs)` names the outputs of layers \(after), and `\(layerIDs)` those of layers "
          + "\(before) (it counts layer inputs, which is one more)",
        advice: "ask the head's author which layers it reads, and correct the other list")
    }
    let layers = after ?? before ?? target.defaultCaptureLayers
    let count = "num_aux_hidden_states"
    for (_, value) in config.stated(count) {
      guard (value as? NSNumber)?.intValue == layers.count else {
        throw LocatedError(
          path: file.path, problem: "`\(count)` is \(value), and \(layers.count) captured layers are named: \(layers)",
          advice: "name the layers in `\(layerIDs)`")
      }
    }
    try target.validate(captureLayers: layers, path: file.path)
    return layers
  }

  /// The layers of a list; nil where there is none. Ids are bounded, so that another one can be subtracted.
  static func layers(_ value: Any?, _ key: String, _ file: ConfigFile) throws -> [Int]? {
    guard let value, !(value is NSNull) else { return nil }
    guard let numbers = value as? [NSNumber] else {
      throw LocatedError(path: file.path, problem: "`\(key)` is not a list of layers")
    }
    return try numbers.map { number in
      guard let layer = Int(exactly: number.doubleValue), (0...1_000_000).contains(layer) else {
        throw LocatedError(path: file.path, problem: "`\(key)` holds \(number), which is no layer")
      }
      return layer
    }
  }
}

extension ConfigFile {
  /// An object under a key; nil where there is none.
  func table(_ key: String) -> [String: Any]? { values[key] as? [String: Any] }

  /// The base of the head's rotary embedding: at the top level, in `rope_parameters` (transformers 5), or in
  /// `rope_scaling`.
  fileprivate func headRopeTheta() throws -> Double {
    let candidates =
      [("rope_theta", values["rope_theta"])]
      + ["rope_parameters", "rope_scaling"].map {
        ("\($0).rope_theta", table($0)?["rope_theta"])
      }
    let found = try candidates.compactMap { key, value -> (key: String, theta: Double)? in
      guard let value, !(value is NSNull) else { return nil }
      guard let theta = (value as? NSNumber)?.doubleValue, theta > 0, theta.isFinite else {
        throw LocatedError(path: path, problem: "`\(key)` is \(value), and must be a number above 0")
      }
      return (key, theta)
    }
    if let first = found.first, let other = found.first(where: { $0.theta != first.theta }) {
      throw LocatedError(
        path: path, problem: "`\(first.key)` is \(first.theta), and `\(other.key)` is \(other.theta)",
        advice: "ask the head's author for the base of its rotary embedding, and leave one of them")
    }
    return found.first?.theta ?? 10000
  }
}
