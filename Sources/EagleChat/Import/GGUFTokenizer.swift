import EagleCore
import EagleModels
import EagleStorage
import Foundation

/// The tokenizer of a GGUF file, which needs no weights.
package struct GGUFTokenizer {
  /// The content of tokenizer.json.
  package let json: Data
  /// The content of tokenizer_config.json.
  package let config: Data
  private let path: String

  /// Reads the tokenizer of a file of any architecture.
  ///
  /// - Throws: `LocatedError` for an unsupported tokenizer, with its name
  package init(gguf path: String) throws { try self.init(of: GGUFFile(path: path)) }

  init(of file: GGUFFile) throws {
    let architecture = GGUFArchitecture(rawValue: try file.string("general.architecture"))
    let vocabulary = try GGUFVocabulary(of: file, preTokenizer: architecture?.preTokenizer)
    json = try vocabulary.tokenizerJSON()
    config = try vocabulary.configJSON()
    path = file.path
  }

  /// The two files.
  package var files: TextFiles {
    TextFiles(madeFrom: path, ["tokenizer.json": json, "tokenizer_config.json": config])
  }
}

extension TextFiles {
  /// The tokenizer and the chat templates of a model: of a folder, or from the metadata of a GGUF file, which needs no
  /// weights.
  package static func tokenizer(ofModel path: String) throws -> TextFiles {
    ModelSource.isGGUF(path) ? try GGUFTokenizer(gguf: path).files : TextFiles(folder: path)
  }
}

extension ModelSource {
  /// The tokenizer and the chat templates.
  func tokenizerFiles() throws -> TextFiles { try gguf.map { try GGUFTokenizer(of: $0).files } ?? texts }
}
