/// A byte-pair vocabulary with its merges, by id.
final class BytePairModel: Sendable {
  let vocabulary: ByteTable  // the bytes of a token (in a byte-level vocabulary those that its letters stand for) -> id
  /// [256] ids of the tokens of single bytes, -1 where there is none; empty where words are made of characters.
  let byteIDs: [Int32]
  /// What words are made of before anything is merged, where it is not bytes.
  let characters: CharacterUnits?
  let merges: MergeTable
  /// Whether no token has a space character after another one: a text may be split before each space, and its words
  /// merged one by one, with the same ids.
  let beginsWordsWithSpace: Bool
  private let ignoresMerges: Bool  // a word that is in the vocabulary as a whole is that token
  private let special: Set<Int32>  // control tokens, which no word is

  /// SentencePiece's visible space.
  static let space = Array("\u{2581}".utf8)

  /// Builds the tables; throws what is wrong with the vocabulary or the merges, and refuses settings by name.
  init(_ model: TokenizerDocument.Model, isByteLevel: Bool, special: Set<Int32>) throws {
    let vocabulary = BytePairModel.table(of: model.vocabulary, isByteLevel: isByteLevel)
    self.vocabulary = vocabulary
    self.special = special
    try BytePairModel.refuseUnsupported(model)
    if isByteLevel {
      byteIDs = (0..<256).map { vocabulary.value(of: [UInt8($0)]) ?? -1 }
      characters = nil
      try BytePairModel.refuseUnsupportedBytes(model, hasAllBytes: !byteIDs.contains(-1))
    } else {
      byteIDs = []
      characters = try CharacterUnits(model, vocabulary)
    }
    merges = try BytePairModel.mergeTable(model.merges, vocabulary, isByteLevel: isByteLevel)
    ignoresMerges = model.ignoreMerges
    beginsWordsWithSpace =
      !isByteLevel && !model.ignoreMerges && vocabulary.value(of: Self.space) != nil
      && !model.merges.contains { BytePairModel.hasInnerSpace($0.left.utf8, $0.right.utf8) }
  }

  /// The token that `word` is as a whole, where the model prefers that to merging.
  func wholeToken(_ word: UnsafeBufferPointer<UInt8>) -> Int32? {
    guard ignoresMerges, let id = vocabulary.value(of: word), !special.contains(id) else { return nil }
    return id
  }

  /// The bytes of a token as text has them; nil for one that no text contains.
  private static func bytes(of token: String, isByteLevel: Bool) -> [UInt8]? {
    isByteLevel ? ByteAlphabet.decode(token) : Array(token.utf8)
  }

  private static func table(of vocabulary: [(token: String, id: Int32)], isByteLevel: Bool) -> ByteTable {
    var table = ByteTable(capacity: vocabulary.count)
    for (token, id) in vocabulary {
      // A token outside the byte alphabet cannot come out of bytes: it is reached only as an added token.
      if let bytes = bytes(of: token, isByteLevel: isByteLevel) { table.insert(bytes, id) }
    }
    return table
  }

  private static func mergeTable(
    _ pairs: [(left: String, right: String)], _ vocabulary: ByteTable, isByteLevel: Bool
  ) throws -> MergeTable {
    var table = MergeTable(capacity: pairs.count)
    for (rank, pair) in pairs.enumerated() {
      guard let left = bytes(of: pair.left, isByteLevel: isByteLevel),
        let right = bytes(of: pair.right, isByteLevel: isByteLevel),
        let leftID = vocabulary.value(of: left), let rightID = vocabulary.value(of: right),
        let result = vocabulary.value(of: left + right)
      else {
        throw TextError("merge \(rank) \"\(pair.left) \(pair.right)\" names a token that is not in the vocabulary")
      }
      table.insert(left: leftID, right: rightID, merge: .init(rank: Int32(rank), result: result))
    }
    return table
  }

  /// Whether the token that both make has a space character right after another character.
  private static func hasInnerSpace(_ left: String.UTF8View, _ right: String.UTF8View) -> Bool {
    let token = Array(left) + Array(right)
    guard token.count > space.count else { return false }
    return (1...token.count - space.count).contains { start in
      token[start...].starts(with: space) && !token[..<start].suffix(space.count).elementsEqual(space)
    }
  }

  private static func refuseUnsupported(_ model: TokenizerDocument.Model) throws {
    if let dropout = model.dropout, dropout != 0 { throw TextError("BPE dropout (\(dropout)) is not supported") }
    if let prefix = model.continuingSubwordPrefix, !prefix.isEmpty {
      throw TextError("the setting continuing_subword_prefix (\"\(prefix)\") is not supported")
    }
    if let suffix = model.endOfWordSuffix, !suffix.isEmpty {
      throw TextError("the setting end_of_word_suffix (\"\(suffix)\") is not supported")
    }
  }

  private static func refuseUnsupportedBytes(_ model: TokenizerDocument.Model, hasAllBytes: Bool) throws {
    if model.byteFallback { throw TextError("byte_fallback is not supported beside the pre_tokenizer ByteLevel") }
    if let unknown = model.unknownToken, !hasAllBytes {
      throw TextError("unk_token (\"\(unknown)\") is not supported in a vocabulary that lacks single bytes")
    }
  }
}
