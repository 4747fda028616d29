import EagleCore
import EagleStorage

/// A model in a GGUF file: what its metadata says, as the files of a Hugging Face folder say it, and its tensors.
package struct GGUFModel: Sendable {
  /// The use of the tensors.
  package enum Use {
    /// Weights of a target, as they are stored.
    case mapped
    /// The safetensors file of a Hugging Face folder.
    case imported
  }

  package let file: GGUFFile
  let sizes: GGUFModelSizes
  let items: [GGUFItem]
  private let isTied: Bool
  private let configs: GGUFConfigFiles

  /// Reads metadata and finds all tensors.
  ///
  /// - Throws: `LocatedError` for an architecture that is not computed, a missing key or tensor, and sizes that do not
  ///   fit each other
  package init(_ file: GGUFFile, for use: Use) throws {
    self.file = file
    sizes = try GGUFModelSizes(of: file)
    try GGUFSwitches.check(file, sizes)
    let rotary = try GGUFRotary(of: file, sizes)
    isTied = try use == .imported ? GGUFWeights.isTied(file) : !file.contains(tensor: "output.weight")
    items = try GGUFTensorList(file: file, sizes: sizes, isMapped: use == .mapped).items(isTied: isTied)
    configs = GGUFConfigFiles(
      sizes: sizes, tokens: try GGUFTokenIDs(of: file), rotary: rotary, isTied: isTied,
      familyFields: try GGUFFamilyConfig(file, sizes, rotary: rotary, items: items).fields())
  }

  /// Rows of the embedding.
  package var vocabularySize: Int { sizes.vocabulary }

  /// config.json and generation_config.json.
  package var texts: TextFiles {
    TextFiles(
      madeFrom: file.path,
      ["config.json": configs.config(), "generation_config.json": configs.generationConfig()])
  }

  /// Family and sizes, for people to read.
  package var summary: String {
    "\(sizes.family.rawValue), \(sizes.layers) layers, hidden \(sizes.hidden), \(sizes.heads)/"
      + "\(sizes.keyValueHeads) heads of \(sizes.headDimension), vocabulary \(sizes.vocabulary)"
      + (sizes.experts.map { ", \($0.perToken) of \($0.count) experts" } ?? "") + (isTied ? ", tied head" : "")
  }

  /// Writes the weights of an imported model as a safetensors file.
  package func writeWeights(to path: String, progress: (String) -> Void) throws {
    try GGUFWeights(file: file, items: items).write(to: path, progress: progress)
  }
}
