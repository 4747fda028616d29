import EagleCore
import EagleModels
import EagleStorage
import EagleTensor
import Foundation

/// Reads and writes draft heads as Hugging Face folders: `config.json` and `model.safetensors`.
public enum DraftFolder {
  static let (config, weights, decoding) = ("config.json", "model.safetensors", "decoding.json")

  /// Writes the head with bfloat16 weights, `d2t` and `t2d`, whole or not at all. The special token ids of its config
  /// are those of `target`.
  ///
  /// An earlier export at `path` is replaced. Its `decoding.json` stays: the plan there says for which machine, target
  /// and formats it was measured. With other weights of the head it may cost speed, but never changes the output.
  ///
  /// - Parameters:
  ///   - layout: whose keys and names the folder has; nil for the architecture's first one that can represent the head
  ///   - verifier: the target's name or path, which speculators' layout holds
  ///   - tables: of the target, for a head that shares its LM head
  /// - Throws: `LocatedError` for a layout that cannot represent the head, and a folder that holds anything else
  package static func write(
    _ model: DraftModel, target: TargetShape, layout: HeadLayout? = nil, verifier: String? = nil,
    tables: TargetTables? = nil, to path: String
  ) throws {
    let folder = try model.shape.folder(layout, target: target, verifier: verifier, path: path)
    let rounded = model.rounded()
    var tensors = rounded.parameters.map {
      (name: folder.tensorName($0.name), tensor: $0.variable.value.bfloat16())
    }
    for (name, table) in [(folder.headRows, tables?.lmHead?.value), (folder.embedding, tables?.embedding)] {
      guard let name else { continue }
      guard let table else { preconditionFailure("\(name) of the target is not given") }
      tensors.append((name: name, tensor: table.dtype == .bfloat16 ? table : table.float32().bfloat16()))
    }
    if !model.vocabulary.isWhole {
      tensors.append((name: "d2t", tensor: model.vocabulary.d2t))
      tensors.append((name: "t2d", tensor: model.vocabulary.t2d))
    }
    try requireReplaceable(path)
    let plan = try keptPlan(path)
    try AtomicFolder.write(path: path, replacing: true) { parent in
      try AtomicFile.write(path: "\(parent)/\(Self.config)", data: folder.config)
      try SafetensorsWriter.write(path: "\(parent)/\(weights)", tensors: tensors, metadata: ["format": "pt"])
      if let plan { try AtomicFile.write(path: "\(parent)/\(decoding)", data: plan) }
    }
  }

  /// Throws when `write` would replace a folder that is not an earlier export.
  package static func requireReplaceable(_ path: String) throws {
    let known = [config, weights, decoding]
    try AtomicFolder.requireOnly("an exported head", in: path) { name in
      known.contains(name) || name == card && isOwnCard("\(path)/\(name)")
    }
    let isThere = [config, weights].contains { FileManager.default.fileExists(atPath: "\(path)/\($0)") }
    guard isThere, !isHead(path) else { return }
    throw LocatedError(
      path: path, problem: "holds a model that is no exported head (its config.json says nothing of a draft head)",
      advice: "choose another folder, or move what is in this one elsewhere")
  }

  /// The page about a head, for people and hubs.
  package static let card = "README.md"

  /// A page with the digest of its text at the end.
  package static func sealedCard(_ text: String) -> Data {
    let body = Data(text.utf8)
    return body + Data("\n<!-- eagle-train export, sha256 \(FileDigest.sha256(body)) -->\n".utf8)
  }

  /// Whether a page is as an earlier export has written it; one that a person has written or changed is left alone.
  private static func isOwnCard(_ path: String) -> Bool {
    guard let page = FileManager.default.contents(atPath: path),
      let end = page.range(of: Data("\n<!-- eagle-train export".utf8), options: .backwards)
    else { return false }
    return sealedCard(String(decoding: page[..<end.lowerBound], as: UTF8.self)) == page
  }

  /// Whether one of the files shows that the folder holds a head. Either may be damaged.
  package static func isHead(_ path: String) -> Bool {
    let text = FileManager.default.contents(atPath: "\(path)/\(config)") ?? Data()
    if text.range(of: Data("\"draft_vocab_size\"".utf8)) != nil || BlockConfig.isBlock(folder: path) { return true }
    return (try? SafetensorsFile(path: "\(path)/\(weights)"))?.names.contains("fc.weight") ?? false
  }

  /// What a head's folder is, in one line.
  ///
  /// - Throws: `LocatedError` for a folder that is no head, and by name for what this program does not compute
  package static func summary(_ path: String) throws -> String {
    try DraftArchitecture.ofFolder(path).summary(folder: path)
  }

  private static func keptPlan(_ path: String) throws -> Data? {
    let file = "\(path)/\(decoding)"
    return FileManager.default.fileExists(atPath: file) ? try MappedFile(path: file).withBytes { Data($0) } : nil
  }
}
