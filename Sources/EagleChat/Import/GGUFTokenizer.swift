import EagleStorage
import Foundation

/// The tokenizer of a GGUF file by itself, such as a file without weights.
package struct GGUFTokenizer {
  /// The content of tokenizer.json.
  package let json: Data
  /// The content of tokenizer_config.json.
  package let config: Data

  /// Reads the tokenizer of a file of any architecture.
  ///
  /// - Throws: `LocatedError` for a tokenizer that cannot be imported, with its name
  package init(gguf path: String) throws {
    let file = try GGUFFile(path: path)
    let architecture = GGUFArchitecture(rawValue: try file.string("general.architecture"))
    let vocabulary = try GGUFVocabulary(of: file, preTokenizer: architecture?.preTokenizer)
    json = try vocabulary.tokenizerJSON()
    config = try vocabulary.configJSON()
  }
}
