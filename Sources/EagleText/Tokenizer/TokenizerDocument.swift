import EagleCore
import Foundation

/// The parts of a tokenizer.json that decide how text becomes ids, as they are in the file.
struct TokenizerDocument {
  let addedTokens: [AddedToken]
  let normalizer: TokenizerFields?
  let preTokenizer: TokenizerFields?
  let postProcessor: TokenizerFields?
  let decoder: TokenizerFields?
  let model: Model

  init(json: Data) throws {
    let value: JSON
    do {
      value = try JSON.read(json)
    } catch {
      throw TextError("not valid JSON: \(error)")
    }
    let fields = try TokenizerFields(value, place: "the document")
    let document = TokenizerFields(fields.object)
    model = try Model(try document.required("model", try document.fields("model")))
    addedTokens = try document.objects("added_tokens")?.map(AddedToken.init) ?? []
    normalizer = try document.fields("normalizer")
    preTokenizer = try document.fields("pre_tokenizer")
    postProcessor = try document.fields("post_processor")
    decoder = try document.fields("decoder")
  }

  /// A token that is found in the text itself before anything else happens to it.
  struct AddedToken: Sendable {
    let id: Int32
    let content: String
    let singleWord: Bool
    let stripsLeft: Bool
    let stripsRight: Bool
    let normalized: Bool
    let special: Bool

    /// Bytes of a content. Each place of a text may be compared with all of them.
    private static let longest = 4096

    init(_ fields: TokenizerFields) throws {
      id = try TokenizerDocument.id(try fields.required("id", fields.value("id")), fields.path("id"))
      content = try fields.required("content", try fields.string("content"))
      guard content.utf8.count <= AddedToken.longest else {
        throw TextError(
          "an added token of \(content.utf8.count) bytes is not supported, at most \(AddedToken.longest) are")
      }
      singleWord = try fields.bool("single_word") ?? false
      stripsLeft = try fields.bool("lstrip") ?? false
      stripsRight = try fields.bool("rstrip") ?? false
      special = try fields.bool("special") ?? false
      normalized = try fields.bool("normalized") ?? true
    }
  }

  struct Model {
    let vocabulary: [(token: String, id: Int32)]
    /// Merges in order of rank.
    let merges: [(left: String, right: String)]
    let dropout: Double?
    let unknownToken: String?
    let fusesUnknown: Bool
    let continuingSubwordPrefix: String?
    let endOfWordSuffix: String?
    let byteFallback: Bool
    let ignoreMerges: Bool

    /// Reads the type before anything else, so that another kind of model is named rather than a missing field.
    init(_ fields: TokenizerFields) throws {
      if let type = try fields.string("type"), type != "BPE" {
        throw TextError("the model type \(type) is not supported, only BPE is")
      }
      let entries = try fields.required("vocab", try fields.fields("vocab")).object.entries
      vocabulary = try entries.map { ($0.key, try TokenizerDocument.id($0.value, "model.vocab.\($0.key)")) }
      merges = try Model.merges(try fields.required("merges", try fields.list("merges")))
      dropout = try fields.double("dropout")
      unknownToken = try fields.string("unk_token")
      fusesUnknown = try fields.bool("fuse_unk") ?? false
      continuingSubwordPrefix = try fields.string("continuing_subword_prefix")
      endOfWordSuffix = try fields.string("end_of_word_suffix")
      byteFallback = try fields.bool("byte_fallback") ?? false
      ignoreMerges = try fields.bool("ignore_merges") ?? false
    }

    /// Files write each merge as "a b" or as ["a", "b"].
    private static func merges(_ list: [JSON]) throws -> [(left: String, right: String)] {
      try list.enumerated().compactMap { rank, value in
        switch value {
        case .string(let line):
          if line.hasPrefix("#version") { return nil }
          // By scalars: a combining mark after a space belongs to it otherwise.
          return try merge(line.unicodeScalars.split(separator: " ", omittingEmptySubsequences: false).map(String.init))
        case .array(let parts):
          return try merge(try parts.map { try text($0, rank) })
        default:
          throw TextError("at model.merges[\(rank)]: expected a string or a list, found \(value.kind)")
        }
      }
    }

    private static func text(_ value: JSON, _ rank: Int) throws -> String {
      guard let text = value.string else {
        throw TextError("at model.merges[\(rank)]: expected a string, found \(value.kind)")
      }
      return text
    }

    private static func merge(_ parts: [String]) throws -> (left: String, right: String) {
      guard parts.count == 2 else {
        throw TextError("the merge \"\(parts.joined(separator: " "))\" has \(parts.count) parts, expected 2")
      }
      return (parts[0], parts[1])
    }
  }

  private static func id(_ value: JSON, _ place: String) throws -> Int32 {
    guard let number = value.int else { throw TextError("at \(place): expected a whole number, found \(value.kind)") }
    guard let id = Int32(exactly: number) else { throw TextError("the token id \(number) is out of range") }
    return id
  }
}
