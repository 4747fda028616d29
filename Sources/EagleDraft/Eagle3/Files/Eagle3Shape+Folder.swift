import EagleCore
import EagleModels
import EagleStorage
import Foundation

extension Eagle3Shape {
  package func folder(
    _ layout: HeadLayout?, target: TargetShape, verifier: String?, path: String
  ) throws -> HeadFolder {
    let layout = try checked(layout, path: path)
    return HeadFolder(
      config: try DraftConfigFile(self, target: target, layout: layout, verifier: verifier).json(),
      tensorName: { Eagle3Tensors.name($0, in: layout) })
  }

  /// The layout to write. The layout of the EAGLE-3 release gives `norm_output` another meaning, and has no key for
  /// norms of q and k. SGLang refuses several layers in it, so that they are written there only on request.
  private func checked(_ layout: HeadLayout?, path: String) throws -> HeadLayout {
    let missing = variant.feedsNormedState ? "norm_output" : variant.normsQueryKey ? "qk_norm" : nil
    switch layout {
    case nil: return missing == nil && layers == 1 ? .eagle3 : .speculators
    case .speculators: return .speculators
    case .deepspec:
      throw LocatedError(
        path: path, problem: "DeepSpec's layout is for block drafters, and this is an EAGLE-3 head",
        advice: "write the layout eagle3 or speculators")
    case .eagle3:
      guard let missing else { return .eagle3 }
      throw LocatedError(
        path: path, problem: "the layout of the EAGLE-3 release has no key for \(missing)",
        advice: "write the layout speculators")
    }
  }

  package static func reader(folder path: String, target: TargetModel) throws -> any HeadReader {
    try Eagle3FolderReader(path, target: target)
  }

  package static func reader(file: GGUFFile, target: TargetModel) throws -> any HeadReader {
    try Eagle3FileReader(file, target: target)
  }

  /// What a head's folder is, in one line.
  ///
  /// - Throws: `LocatedError` for a folder that is no head, and by name for what this program does not compute
  package static func summary(folder path: String) throws -> String {
    let config = try HeadConfig(folder: path)
    let hidden = try config.file.integer("hidden_size")
    let width = try config.file.integerIfPresent("target_hidden_size") ?? hidden
    let names = try SafetensorsFolder(path: path).names.map { $0.replacing(/^(midlayer|layers\.0)\./, with: "") }
    let layers = try config.layers(tensors: Set(names))
    let switches =
      try (layers == 1 ? [] : ["\(layers) layers"])
      + config.variant(hidden: hidden, width: width, tensors: Set(names)).names
    let vocabulary = try config.file.integer("vocab_size")
    let size = try config.file.integerIfPresent("draft_vocab_size") ?? vocabulary
    return
      "EAGLE-3 draft head in the layout \(config.layout.rawValue): hidden_size \(hidden), draft vocabulary \(size) of "
      + "\(vocabulary), " + (switches.isEmpty ? "no switches" : switches.joined(separator: ", "))
  }

  /// Whether the folder's tensors are those of an EAGLE-3 head: others have no norm of the state.
  static func hasTensors(_ path: String) -> Bool {
    (try? SafetensorsFolder(path: path))?.names.contains { $0.hasSuffix(".hidden_norm.weight") } ?? false
  }
}
