import EagleCore
import EagleModels
import EagleStorage
import Foundation

/// Turns a GGUF model into a Hugging Face folder.
///
/// The folder holds config.json, generation_config.json, model.safetensors in bfloat16 (dequantised, rounded to the
/// nearest, ties to even), tokenizer.json, tokenizer_config.json and import.json, which names the source and all files
/// with their checksums. Experts in MXFP4 keep their format. `GGUFArchitecture` lists what can be imported.
public enum GGUFImport {
  private static let recordName = "import.json"
  private static let recordFormat = "eagle-import"

  /// Imports the GGUF file `path` into `folder`, atomically.
  ///
  /// An existing empty folder is filled. A folder with a complete earlier import of the same file stays unchanged. Any
  /// other non-empty folder throws, and so does a model that cannot be imported.
  public static func run(gguf path: String, output folder: String, progress: (String) -> Void) throws {
    let model = try Model(path: path)
    let source = try FolderManifest.File(measuring: path, as: URL(fileURLWithPath: path).lastPathComponent)
    if try isComplete(folder, source: source) {
      return progress("\(folder) already holds a complete import of \(source.path)")
    }
    progress("importing \(path): \(model.summary)")
    try AtomicFolder.write(path: folder) { temporary in
      try model.write(to: temporary, progress: progress)
      try FolderManifest.seal(temporary, as: recordName, format: recordFormat, source: source)
    }
    progress("imported to \(folder)")
  }

  /// Whether the folder is an earlier import of the source; a folder with other content throws.
  private static func isComplete(_ folder: String, source: FolderManifest.File) throws -> Bool {
    guard let entries = try? FileManager.default.contentsOfDirectory(atPath: folder), !entries.isEmpty else {
      return false
    }
    guard entries.contains(recordName) else {
      throw occupied(folder, "exists and is not empty")
    }
    let record = try FolderManifest(folder: folder, name: recordName, format: recordFormat)
    guard record.source?.sha256 == source.sha256 else {
      throw occupied(folder, "holds an import of another file, \(record.source?.path ?? "unknown")")
    }
    do {
      try record.checkSizes(in: folder)
    } catch {
      throw occupied(folder, "holds an import of this file that was changed afterwards (\(error))")
    }
    return true
  }

  private static func occupied(_ folder: String, _ problem: String) -> LocatedError {
    LocatedError(path: folder, problem: problem, advice: "choose another output folder, or remove this one")
  }

  /// The parts of a model that are read before anything is written.
  private struct Model {
    private let model: GGUFModel
    private let vocabulary: GGUFVocabulary

    init(path: String) throws {
      let file = try GGUFFile(path: path)
      model = try GGUFModel(file, for: .imported)
      vocabulary = try GGUFVocabulary(
        of: file, GGUFArchitecture(of: file), vocabularySize: model.vocabularySize)
    }

    var summary: String { model.summary }

    func write(to folder: String, progress: (String) -> Void) throws {
      let files: [(name: String, data: Data)] = [
        ("tokenizer.json", try vocabulary.tokenizerJSON()), ("tokenizer_config.json", try vocabulary.configJSON()),
      ]
      let texts = ["config.json", "generation_config.json"].compactMap { name in
        model.texts.content(name).map { (name: name, data: $0) }
      }
      for file in files + texts { try AtomicFile.write(path: "\(folder)/\(file.name)", data: file.data) }
      try model.writeWeights(to: "\(folder)/model.safetensors", progress: progress)
    }
  }
}
