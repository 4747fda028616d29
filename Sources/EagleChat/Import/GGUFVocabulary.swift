import EagleCore
import EagleStorage
import EagleText
import Foundation

/// The tokenizer of a GGUF model.
struct GGUFVocabulary {
  let bos: Int?
  let eos: Int?
  let pad: Int?
  /// The token that ends a turn, where the file names one beside `eos`.
  let endOfTurn: Int?
  private let path: String
  private let tokens: [String]
  private let merges: [String]
  private let types: [Int32]
  private let preTokenizer: String
  private let chatTemplate: String

  /// Reads a byte-level BPE tokenizer.
  ///
  /// - Throws: `LocatedError` for another tokenizer, and where neither file nor architecture names the pre-tokenizer
  init(of file: GGUFFile, _ architecture: GGUFArchitecture, vocabularySize: Int) throws {
    let model = try file.string("tokenizer.ggml.model")
    guard model == "gpt2" else {
      throw LocatedError(
        path: file.path, problem: "the tokenizer `\(model)` cannot be imported", advice: "byte-level BPE (`gpt2`) can")
    }
    path = file.path
    tokens = try file.strings("tokenizer.ggml.tokens")
    merges = try file.strings("tokenizer.ggml.merges")
    types = try Self.types(file, count: tokens.count)
    preTokenizer = try Self.preTokenizer(file, architecture)
    chatTemplate = file.contains(key: "tokenizer.chat_template") ? try file.string("tokenizer.chat_template") : ""
    bos = try Self.id("bos", file, tokens)
    eos = try Self.id("eos", file, tokens)
    pad = try Self.id("padding", file, tokens)
    endOfTurn = try Self.id("eot", file, tokens)
    guard tokens.count <= vocabularySize else {
      throw LocatedError(
        path: file.path, problem: "the tokenizer has \(tokens.count) tokens, the embedding \(vocabularySize) rows",
        advice: "the file is damaged: copy or download it again")
    }
  }

  /// The content of tokenizer.json.
  func tokenizerJSON() throws -> Data {
    do {
      return try TokenizerFile.json(tokens: tokens, merges: merges, tokenTypes: types, preTokenizer: preTokenizer)
    } catch {
      throw LocatedError(path: path, problem: "\(error)", advice: "the tokenizer of this model cannot be imported")
    }
  }

  /// The content of tokenizer_config.json.
  func configJSON() throws -> Data {
    try TokenizerFile.config(
      chatTemplate: chatTemplate, bos: bos.map { tokens[$0] }, eos: eos.map { tokens[$0] }, pad: pad.map { tokens[$0] })
  }

  /// The name of the pre-tokenizer. Files of early 2024 name none, or "default". Every Qwen model has that of Qwen2; a
  /// llama may be a Llama 3, a SmolLM or another, and a wrong pre-tokenizer would give wrong ids without an error.
  private static func preTokenizer(_ file: GGUFFile, _ architecture: GGUFArchitecture) throws -> String {
    let key = "tokenizer.ggml.pre"
    let name = file.contains(key: key) ? try file.string(key) : nil
    if let name, name != "default" { return name }
    if let preTokenizer = architecture.preTokenizer { return preTokenizer }
    throw LocatedError(
      path: file.path,
      problem: name == nil ? "has no metadata key `\(key)`" : "`\(key)` is \"default\", which names no pre-tokenizer",
      advice: "how a \(architecture.rawValue) model cuts text into words is not known without it: convert the model "
        + "again with a present llama.cpp")
  }

  private static func types(_ file: GGUFFile, count: Int) throws -> [Int32] {
    let key = "tokenizer.ggml.token_type"
    guard file.contains(key: key) else { return [Int32](repeating: 1, count: count) }
    let types = try file.ints(key)
    guard types.count == count else {
      throw LocatedError(path: file.path, problem: "`\(key)` has \(types.count) entries for \(count) tokens")
    }
    return types.map { Int32(clamping: $0) }
  }

  private static func id(_ name: String, _ file: GGUFFile, _ tokens: [String]) throws -> Int? {
    let key = "tokenizer.ggml.\(name)_token_id"
    guard file.contains(key: key) else { return nil }
    let id = try file.int(key)
    guard tokens.indices.contains(id) else {
      throw LocatedError(path: file.path, problem: "`\(key)` is \(id), the vocabulary has \(tokens.count) tokens")
    }
    return id
  }
}
