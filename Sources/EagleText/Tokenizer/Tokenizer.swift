import Foundation

/// A byte-level BPE tokenizer read from a Hugging Face tokenizer.json; it gives the ids that Hugging Face tokenizers
/// gives.
///
/// Supported are the BPE model, the normalizer NFC or none, the pre-tokenizers Split (Regex, Isolated), Digits and
/// ByteLevel, added tokens, and the decoder ByteLevel. A file that needs anything else is refused by name.
/// Post-processors play no part: text is encoded as with `add_special_tokens=False`.
///
/// Any number of threads may use one tokenizer at once. A text has less than 2 GiB.
public final class Tokenizer: Sendable {
  let normalizer: Normalizer
  let preTokenizer: PreTokenizer
  let model: BytePairModel
  let store: VocabularyBytes
  let rawTokens: AddedTokens  // found in the text as it is
  let normalizedTokens: AddedTokens  // found after normalisation
  let sessions = SessionPool()

  /// Reads `folder`/tokenizer.json.
  public convenience init(folder: String) throws {
    let path = URL(fileURLWithPath: folder).appendingPathComponent("tokenizer.json").path
    guard let json = FileManager.default.contents(atPath: path) else {
      throw TextError("\(path): cannot be read; a Hugging Face model folder with a tokenizer.json is needed")
    }
    try self.init(json: json, path: path)
  }

  /// Reads the content of a tokenizer.json; `path` names it in errors.
  public init(json: Data, path: String) throws {
    do {
      let document = try JSONDecoder().decode(TokenizerDocument.self, from: json)
      let added = document.addedTokens ?? []
      try Tokenizer.refuseUnsupported(document)
      normalizer = try Normalizer(document.normalizer)
      preTokenizer = try PreTokenizer(document.preTokenizer)
      store = try VocabularyBytes(vocabulary: document.model.vocabulary, added: added, normalizer: normalizer)
      model = try BytePairModel(document.model, special: store.special)
      rawTokens = AddedTokens(added.filter { !($0.normalized ?? true) }, normalizer: .none)
      normalizedTokens = AddedTokens(added.filter { $0.normalized ?? true }, normalizer: normalizer)
    } catch let error as TextError {
      throw TextError("\(path): \(error.description)")
    } catch {
      throw TextError(decoding: error, path: path)
    }
  }

  private static func refuseUnsupported(_ document: TokenizerDocument) throws {
    guard document.decoder?.type == "ByteLevel" else {
      throw TextError("the decoder \(document.decoder?.type ?? "(none)") is not supported, only ByteLevel is")
    }
  }

  /// The highest id plus one.
  public var vocabularySize: Int { store.size }

  /// The id of a token as tokenizer.json writes it (added tokens as text, others in GPT-2's byte alphabet).
  public func id(of token: String) -> Int32? {
    if let id = store.literalID(token) { return id }
    return ByteAlphabet.decode(token).flatMap { model.vocabulary.value(of: $0) }
  }

  /// Whether `id` is a control token that decoding can leave out.
  public func isSpecial(_ id: Int32) -> Bool { store.isSpecial(id) }

  /// The bytes that token `id` stands for, nil when no token has that id.
  public func bytes(of id: Int32) -> [UInt8]? { store.bytes(of: id).map(Array.init) }
}
