import EagleCore
import EagleStorage
import Foundation

/// Reads and writes draft heads as Hugging Face folders: `config.json` and `model.safetensors`.
public enum DraftFolder {
  static let (config, weights, decoding) = ("config.json", "model.safetensors", "decoding.json")

  /// Writes the head with bfloat16 weights, `d2t` and `t2d`, whole or not at all. The special token ids of its config
  /// are those of `target`.
  ///
  /// An earlier export at `path` is replaced. Its `decoding.json` stays: the plan there says for which machine, target
  /// and formats it was measured, and with other weights of the head it costs speed at most, never text.
  ///
  /// - Throws: `LocatedError` for a folder that holds anything else
  package static func write(_ model: DraftModel, target: TargetShape, to path: String) throws {
    let rounded = model.rounded()
    var tensors = rounded.parameters.map { (name: $0.name, tensor: $0.variable.value.bfloat16()) }
    tensors.append((name: "d2t", tensor: model.vocabulary.d2t))
    tensors.append((name: "t2d", tensor: model.vocabulary.t2d))
    let config = try DraftConfigFile(model.shape, target: target).json()
    try requireReplaceable(path)
    let plan = try keptPlan(path)
    try AtomicFolder.write(path: path, replacing: true) { folder in
      try AtomicFile.write(path: "\(folder)/\(Self.config)", data: config)
      try SafetensorsWriter.write(path: "\(folder)/\(weights)", tensors: tensors, metadata: ["format": "pt"])
      if let plan { try AtomicFile.write(path: "\(folder)/\(decoding)", data: plan) }
    }
  }

  /// Throws when `write` would replace a folder that is not an earlier export.
  package static func requireReplaceable(_ path: String) throws {
    let known = [config, weights, decoding]
    try AtomicFolder.requireOnly("an exported head", in: path) { known.contains($0) }
    let isThere = [config, weights].contains { FileManager.default.fileExists(atPath: "\(path)/\($0)") }
    guard isThere, !isHead(path) else { return }
    throw LocatedError(
      path: path, problem: "holds a model that is no exported head (its config.json has no `draft_vocab_size`)",
      advice: "choose another folder, or move what is in this one elsewhere")
  }

  /// Whether one of the files shows that the folder holds a head. Either may be damaged.
  package static func isHead(_ path: String) -> Bool {
    let text = FileManager.default.contents(atPath: "\(path)/\(config)") ?? Data()
    if text.range(of: Data("\"draft_vocab_size\"".utf8)) != nil { return true }
    return (try? SafetensorsFile(path: "\(path)/\(weights)"))?.names.contains("fc.weight") ?? false
  }

  private static func keptPlan(_ path: String) throws -> Data? {
    let file = "\(path)/\(decoding)"
    return FileManager.default.fileExists(atPath: file) ? try MappedFile(path: file).withBytes { Data($0) } : nil
  }
}
