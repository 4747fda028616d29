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
  /// - Parameters:
  ///   - layout: whose keys and names the folder has; nil for those of the EAGLE-3 release where they can say what the
  ///     head is, else those of speculators
  ///   - verifier: the target's name or path, which speculators' layout holds
  /// - Throws: `LocatedError` for a layout that cannot say it, and a folder that holds anything else
  package static func write(
    _ model: DraftModel, target: TargetShape, layout: HeadLayout? = nil, verifier: String? = nil, to path: String
  ) throws {
    let layout = try checked(layout, for: model.shape.variant, path: path)
    let rounded = model.rounded()
    var tensors = rounded.parameters.map {
      (name: DraftTensors.name($0.name, in: layout), tensor: $0.variable.value.bfloat16())
    }
    if !model.vocabulary.isWhole {
      tensors.append((name: "d2t", tensor: model.vocabulary.d2t))
      tensors.append((name: "t2d", tensor: model.vocabulary.t2d))
    }
    let config = try DraftConfigFile(model.shape, target: target, layout: layout, verifier: verifier).json()
    try requireReplaceable(path)
    let plan = try keptPlan(path)
    try AtomicFolder.write(path: path, replacing: true) { folder in
      try AtomicFile.write(path: "\(folder)/\(Self.config)", data: config)
      try SafetensorsWriter.write(path: "\(folder)/\(weights)", tensors: tensors, metadata: ["format": "pt"])
      if let plan { try AtomicFile.write(path: "\(folder)/\(decoding)", data: plan) }
    }
  }

  /// The layout to write. In that of the EAGLE-3 release `norm_output` means something else, and no key stands for norms
  /// of q and k.
  private static func checked(_ layout: HeadLayout?, for variant: DraftVariant, path: String) throws -> HeadLayout {
    let needsSpeculators = variant.feedsNormedState || variant.normsQueryKey
    guard let layout else { return needsSpeculators ? .speculators : .eagle3 }
    guard layout == .eagle3, needsSpeculators else { return layout }
    throw LocatedError(
      path: path,
      problem:
        "the layout of the EAGLE-3 release has no key for \(variant.feedsNormedState ? "norm_output" : "qk_norm")",
      advice: "write the layout speculators")
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

  /// What a head's folder is, in one line.
  ///
  /// - Throws: `LocatedError` for a folder that is no head, and by name for what this program does not compute
  package static func summary(_ path: String) throws -> String {
    let config = try HeadConfig(folder: path)
    let hidden = try config.file.integer("hidden_size")
    let width = try config.file.integerIfPresent("target_hidden_size") ?? hidden
    let names = try SafetensorsFolder(path: path).names.map { $0.replacing(/^(midlayer|layers\.0)\./, with: "") }
    let switches = try config.variant(hidden: hidden, width: width, tensors: Set(names)).names
    let vocabulary = try config.file.integer("vocab_size")
    let size = try config.file.integerIfPresent("draft_vocab_size") ?? vocabulary
    return
      "EAGLE-3 draft head in the layout \(config.layout.rawValue): hidden_size \(hidden), draft vocabulary \(size) of "
      + "\(vocabulary), " + (switches.isEmpty ? "no switches" : switches.joined(separator: ", "))
  }

  /// Whether the folder's tensors are those of an EAGLE-3 head: others have no norm of the state.
  static func hasHeadTensors(_ path: String) -> Bool {
    (try? SafetensorsFolder(path: path))?.names.contains { $0.hasSuffix(".hidden_norm.weight") } ?? false
  }

  private static func keptPlan(_ path: String) throws -> Data? {
    let file = "\(path)/\(decoding)"
    return FileManager.default.fileExists(atPath: file) ? try MappedFile(path: file).withBytes { Data($0) } : nil
  }
}
