import EagleCore
import EagleStorage

/// A model on disk: a Hugging Face folder with safetensors, or a GGUF file, whose weights are used as they are stored.
package struct ModelSource: Sendable {
  private enum Kind {
    case folder
    case gguf(GGUFModel)
  }

  /// The folder or the file.
  package let path: String
  /// config.json, generation_config.json, and the other text files of a folder.
  package let texts: TextFiles
  private let kind: Kind

  /// Opens a folder, or reads the header of a GGUF file.
  ///
  /// - Throws: `LocatedError` for a file that is no GGUF model, and a folder with a GGUF file and no config.json
  package init(path: String) throws {
    self.path = path
    if Self.isGGUF(path) {
      let model = try GGUFModel(GGUFFile(path: path), for: .mapped)
      (kind, texts) = (.gguf(model), model.texts)
    } else {
      try Self.refuseFolderOfGGUF(path)
      (kind, texts) = (.folder, TextFiles(folder: path))
    }
  }

  /// Whether a path means a GGUF file: any existing file, or a path that ends in `.gguf` and is not a folder.
  package static func isGGUF(_ path: String) -> Bool {
    FileTree.isFile(path) || path.hasSuffix(".gguf") && !FileTree.isFolder(path)
  }

  /// Throws for a folder with a GGUF file and no config.json: the file itself is the model, or the head.
  package static func refuseFolderOfGGUF(_ path: String) throws {
    guard FileTree.isFolder(path), !FileTree.isFile("\(path)/config.json"),
      let file = try FileTree.entries(of: path).first(where: { $0.hasSuffix(".gguf") })
    else { return }
    throw LocatedError(
      path: path, problem: "is a folder with a GGUF file and no config.json",
      advice: "name the file itself: \(TextFiles(folder: path).place(of: file))")
  }

  /// The GGUF file; nil for a folder.
  package var gguf: GGUFFile? {
    if case .gguf(let model) = kind { model.file } else { nil }
  }

  /// The weights by their Hugging Face names.
  func tensors() throws -> any TensorSource {
    switch kind {
    case .folder: try SafetensorsFolder(path: path)
    case .gguf(let model): GGUFTensors(of: model)
    }
  }

  /// A digest that identifies the weights and the configuration, and does not depend on the path.
  func fingerprint() throws -> String {
    switch kind {
    case .folder: try SafetensorsFolder.fingerprint(folder: path)
    case .gguf(let model): model.file.fingerprint()
    }
  }

  /// Bytes of the files with weights.
  package func weightBytes() throws -> Int {
    switch kind {
    case .folder: try SafetensorsFolder(path: path).files.reduce(0) { $0 + (try FileTree.size(of: $1.path)) }
    case .gguf(let model): model.file.byteCount
    }
  }

  /// Digests of the files other than weights, which define what a model's ids mean. Ranks compare them.
  package func textDigests() throws -> String {
    if case .gguf(let model) = kind { return "metadata \(model.file.metadataDigest())" }
    return try FileTree.entries(of: path).filter { name in
      [".json", ".jinja", ".txt", ".model"].contains { name.hasSuffix($0) } && !name.hasSuffix(".index.json")
    }.map { "\($0) \(try FileDigest.sha256(path: "\(path)/\($0)"))" }.joined(separator: "\n")
  }
}
