import EagleCore
import Foundation

/// What a GGUF file says about a tokenizer, from a Hugging Face folder: the reverse of `TokenizerFile`.
package struct GGUFTokenizerContent {
  package enum Model {
    /// `gpt2`: merges as "left right" in order of rank, and the name of the pre-tokenizer.
    case byteLevel(merges: [String], preTokenizer: String)
    /// `llama`: a score for each token, and whether a text gets a space in front.
    case sentencePiece(scores: [Float], addsSpacePrefix: Bool)
  }

  package let model: Model
  /// The index is the id; ids without a token are filled up to the size of the model's vocabulary.
  package let tokens: [String]
  /// 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 a byte.
  package let types: [Int32]
  package let unknown: Int32?
  /// Whether BOS and EOS are added around every text.
  package let addsBOS: Bool
  package let addsEOS: Bool

  /// Reads `folder`/tokenizer.json and, next to it, tokenizer_config.json.
  ///
  /// - Parameters:
  ///   - vocabularySize: rows of the model's embedding
  ///   - omitted: added tokens that the model does not have
  /// - Throws: by name for a tokenizer that a GGUF file cannot describe
  package init(folder: String, vocabularySize: Int, without omitted: Set<String> = []) throws {
    let tokenizer = try Tokenizer(folder: folder, without: omitted)
    let path = "\(folder)/tokenizer.json"
    do {
      let document = try TokenizerDocument(json: try FileTree.read(path))
      let list = try TokenList(document, size: vocabularySize, omitted: omitted)
      (tokens, types, unknown) = (list.tokens, list.types, list.unknown)
      model =
        tokenizer.preTokenizer.isByteLevel
        ? try Self.byteLevel(document) : try Self.sentencePiece(document, list)
      (addsBOS, addsEOS) = (!tokenizer.frame.before.isEmpty, !tokenizer.frame.after.isEmpty)
    } catch let error as TextError {
      throw LocatedError(
        path: path, problem: error.description,
        advice: "a GGUF file cannot describe this tokenizer: export the head as a folder")
    }
  }

  private static func byteLevel(_ document: TokenizerDocument) throws -> Model {
    guard let name = try PreTokenizerStyle.ggufName(document) else {
      let parts = try PreTokenizerStyle.components(document.preTokenizer).joined(separator: ", ")
      throw TextError(
        "llama.cpp has no known name for the pre_tokenizer \(parts)"
          + (document.model.ignoreMerges ? " with ignore_merges" : ""))
    }
    return .byteLevel(merges: document.model.merges.map { "\($0.left) \($0.right)" }, preTokenizer: name)
  }

  /// Scores that put merges in the order of the file: SentencePiece merges the pair whose token has the highest score.
  private static func sentencePiece(_ document: TokenizerDocument, _ list: TokenList) throws -> Model {
    let addsSpacePrefix = try spacePrefix(document)
    guard document.model.byteFallback else { throw TextError("a SentencePiece model without byte_fallback") }
    var scores = [Float](repeating: -Float(1 << 23), count: list.tokens.count)
    for id in scores.indices where list.types[id] != 1 { scores[id] = 0 }
    var previous: Int?
    for (rank, merge) in document.model.merges.enumerated() {
      guard let id = list.ids[merge.left + merge.right] else {
        throw TextError("the merge \"\(merge.left) \(merge.right)\" makes no token")
      }
      if id != previous, scores[id] == -Float(1 << 23) { scores[id] = -Float(rank) }
      previous = id
    }
    try requireSameMerges(document, list, scores)
    return .sentencePiece(scores: scores, addsSpacePrefix: addsSpacePrefix)
  }

  /// Throws where the scores would merge other pairs, or in another order of their tokens.
  private static func requireSameMerges(_ document: TokenizerDocument, _ list: TokenList, _ scores: [Float]) throws {
    let again = try GGUFTokenList(list.tokens, types: list.types, unknown: list.unknown.map(Int.init))
      .merges(scores: scores.map(Double.init))
    let merges = document.model.merges
    let isSameOrder =
      again.count == merges.count && zip(again, merges).allSatisfy { $0.left + $0.right == $1.left + $1.right }
    guard isSameOrder, Set(again.map { "\($0.left) \($0.right)" }) == Set(merges.map { "\($0.left) \($0.right)" })
    else {
      throw TextError("its merges are not in an order that scores of tokens give, which is all that `llama` has")
    }
  }

  /// Whether a text gets a space in front; throws for what SentencePiece in llama.cpp does not do.
  private static func spacePrefix(_ document: TokenizerDocument) throws -> Bool {
    let normalizer = try PreTokenizerStyle.components(document.normalizer)
    let preTokenizer = try PreTokenizerStyle.components(document.preTokenizer)
    let spaces = try document.normalizer.map(spaces) ?? []
    if let fields = document.preTokenizer, try fields.string("type") == "Metaspace", normalizer.isEmpty {
      let scheme = try fields.string("prepend_scheme")
      return try scheme.map { $0 != "never" } ?? fields.bool("add_prefix_space") ?? true
    }
    // Gemma's Split finds no space: the normalizer has replaced them.
    guard preTokenizer.isEmpty || preTokenizer == ["Split   MergedWithPrevious false"] else {
      throw TextError("the pre_tokenizer \(preTokenizer.joined(separator: ", ")) of a SentencePiece model")
    }
    switch spaces {
    case ["prepend", "replace"]: return true
    case ["replace"]: return false
    default: throw TextError("the normalizer \(normalizer.joined(separator: ", ")) of a SentencePiece model")
    }
  }

  /// The steps of a normalizer that makes spaces visible; others by their own names.
  private static func spaces(_ fields: TokenizerFields) throws -> [String] {
    let type = try fields.required("type", fields.string("type"))
    switch type {
    case "Sequence": return try fields.objects("normalizers")?.flatMap { try spaces($0) } ?? []
    case "Prepend": return [try fields.string("prepend") == "▁" ? "prepend" : type]
    case "Replace":
      let isSpace = try fields.fields("pattern")?.string("String") == " " && fields.string("content") == "▁"
      return [isSpace ? "replace" : type]
    default: return [type]
    }
  }
}

extension GGUFTokenizerContent {
  /// The tokens of a tokenizer.json with their types.
  private struct TokenList {
    private(set) var tokens: [String] = []
    private(set) var types: [Int32] = []
    private(set) var unknown: Int32?
    private(set) var ids: [String: Int] = [:]

    init(_ document: TokenizerDocument, size: Int, omitted: Set<String>) throws {
      tokens = (0..<size).map { "[PAD\($0)]" }
      types = [Int32](repeating: 5, count: size)
      let hasBytes = document.model.byteFallback
      for (token, id) in document.model.vocabulary where !omitted.contains(token) {
        try set(id, token, hasBytes && Self.isByte(token) ? 6 : 1)
      }
      for token in document.addedTokens where !omitted.contains(token.content) {
        try set(token.id, token.content, token.special ? 3 : 4)
      }
      if let text = document.model.unknownToken, let id = ids[text] {
        unknown = Int32(id)
        if hasBytes { types[id] = 2 }
      }
    }

    private mutating func set(_ id: Int32, _ token: String, _ type: Int32) throws {
      guard tokens.indices.contains(Int(id)) else {
        throw TextError("the token \"\(token)\" has the id \(id), and the model \(tokens.count) tokens")
      }
      tokens[Int(id)] = token
      types[Int(id)] = type
      ids[token] = Int(id)
    }

    /// Whether a token is one of `<0x00>` to `<0xFF>`.
    private static func isByte(_ token: String) -> Bool {
      token.utf8.count == 6 && token.hasPrefix("<0x") && token.hasSuffix(">")
        && UInt8(token.dropFirst(3).dropLast(), radix: 16) != nil
    }
  }
}
