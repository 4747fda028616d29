import EagleCore
import Foundation

/// A BPE tokenizer read from a Hugging Face tokenizer.json; it gives the ids that Hugging Face tokenizers gives.
///
/// There are two kinds. A byte-level one (GPT-2, Llama 3, Qwen, gpt-oss, DeepSeek) has the pre-tokenizer and the
/// decoder ByteLevel. One that comes from SentencePiece (Llama 2, Mistral 7B, Gemma) makes spaces visible by Metaspace,
/// or by Prepend and Replace, and falls back to bytes. Supported are the normalizers NFC, Prepend and Replace, the
/// pre-tokenizers Split, Digits, Punctuation, Metaspace and ByteLevel, each in Sequences, and added tokens of all
/// kinds. A file that needs anything else is refused by name. docs/guide/models.md has a table of models.
///
/// Any number of threads may use one tokenizer at once. A text has less than 512 MiB.
public final class Tokenizer: Sendable {
  let normalizer: Normalizer
  let preTokenizer: PreTokenizer
  let model: BytePairModel
  let store: VocabularyBytes
  let decoder: TokenDecoder
  let frame: TextFrame
  let rawTokens: AddedTokens  // found in the text as it is
  let normalizedTokens: AddedTokens  // found after normalisation
  let sessions = SessionPool()

  /// Reads `folder`/tokenizer.json, and which tokens a text begins and ends with from tokenizer_config.json next to it.
  ///
  /// - Parameters:
  ///   - folder: a Hugging Face model folder
  ///   - omitted: added tokens that the model does not have, and that are text (those of images in text models)
  public convenience init(folder: String, without omitted: Set<String> = []) throws {
    try self.init(files: TextFiles(folder: folder), without: omitted)
  }

  /// The same from the text files of a model.
  package convenience init(files: TextFiles, without omitted: Set<String> = []) throws {
    let (name, config) = ("tokenizer.json", "tokenizer_config.json")
    let path = files.place(of: name)
    guard let json = files.content(name) else {
      throw TextError("\(path): cannot be read; a Hugging Face model folder with a tokenizer.json is needed")
    }
    try self.init(
      json: json, path: path, config: files.content(config), configPath: files.place(of: config), omitted)
  }

  /// Reads the content of a tokenizer.json; `path` names it in errors.
  public convenience init(json: Data, path: String) throws {
    try self.init(json: json, path: path, config: nil, configPath: "", [])
  }

  private init(json: Data, path: String, config: Data?, configPath: String, _ omitted: Set<String>) throws {
    do {
      let document = try TokenizerDocument(json: json)
      let added = document.addedTokens.filter { !omitted.contains($0.content) }
      normalizer = try Normalizer(document.normalizer)
      preTokenizer = try PreTokenizer(document.preTokenizer)
      decoder = try TokenDecoder(document.decoder)
      try Tokenizer.refuseUnsupported(document, preTokenizer, decoder)
      store = try VocabularyBytes(
        vocabulary: document.model.vocabulary, added: added, normalizer: normalizer, decoder: decoder)
      model = try BytePairModel(document.model, isByteLevel: decoder.isByteLevel, special: store.special)
      rawTokens = AddedTokens(added.filter { !$0.normalized }, normalizer: Normalizer(steps: []))
      normalizedTokens = AddedTokens(added.filter(\.normalized), normalizer: normalizer)
      let framing = try TextFrame(document.postProcessor)
      frame =
        try config.map { [store, model] in
          try Tokenizer.frame(framing, config: $0, path: configPath) { Tokenizer.id(of: $0, store, model) }
        } ?? framing
    } catch let error as ConfigError {
      throw TextError(error.description)
    } catch let error as TextError {
      throw TextError("\(path): \(error.description)")
    }
  }

  /// An error that names its own file.
  private struct ConfigError: Error {
    let description: String
  }

  private static func frame(
    _ frame: TextFrame, config: Data, path: String, id: (String) -> Int32?
  ) throws -> TextFrame {
    do {
      var frame = frame
      try frame.apply(try TokenizerFields(try JSON.read(config), place: "the document"), id: id)
      return frame
    } catch {
      throw ConfigError(description: "\(path): \(error)")
    }
  }

  private static func refuseUnsupported(
    _ document: TokenizerDocument, _ preTokenizer: PreTokenizer, _ decoder: TokenDecoder
  ) throws {
    guard preTokenizer.isByteLevel != decoder.isByteLevel else { return }
    let name = try document.decoder?.string("type") ?? ""
    throw TextError(
      preTokenizer.isByteLevel
        ? "the decoder \(name) is not supported beside the pre_tokenizer ByteLevel, only ByteLevel is"
        : "the decoder \(name) needs a pre_tokenizer with ByteLevel in it")
  }

  /// The number of ids: the highest id plus one.
  public var vocabularySize: Int { store.size }

  /// The id of a token as tokenizer.json writes it (added tokens as text, others in GPT-2's byte alphabet or with
  /// SentencePiece's visible spaces). Nil when there is no such token.
  public func id(of token: String) -> Int32? { Tokenizer.id(of: token, store, model) }

  private static func id(of token: String, _ store: VocabularyBytes, _ model: BytePairModel) -> Int32? {
    if let id = store.literalID(token) { return id }
    if model.characters != nil { return model.vocabulary.value(of: Array(token.utf8)) }
    return ByteAlphabet.decode(token).flatMap { model.vocabulary.value(of: $0) }
  }

  /// Whether `id` is a control token that decoding can leave out.
  public func isSpecial(_ id: Int32) -> Bool { store.isSpecial(id) }

  /// The bytes that token `id` stands for inside a text, nil when no token has that id.
  public func bytes(of id: Int32) -> [UInt8]? { store.bytes(of: id).map(Array.init) }
}
