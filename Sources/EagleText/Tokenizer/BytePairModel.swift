/// A byte-level BPE vocabulary with its merges, by id.
final class BytePairModel: Sendable {
  let vocabulary: ByteTable  // the bytes of a token, in the byte alphabet's sense -> id
  let byteIDs: [Int32]  // [256] id of the token of a single byte, -1 when there is none
  let merges: MergeTable
  private let ignoresMerges: Bool  // a word that is in the vocabulary as a whole is that token
  private let special: Set<Int32>  // control tokens, which no word is

  /// Builds the tables; throws what is wrong with the vocabulary or the merges, and refuses settings by name.
  init(_ model: TokenizerDocument.Model, special: Set<Int32>) throws {
    let vocabulary = BytePairModel.table(of: model.vocabulary)
    self.vocabulary = vocabulary
    self.special = special
    byteIDs = (0..<256).map { vocabulary.value(of: [UInt8($0)]) ?? -1 }
    try BytePairModel.refuseUnsupported(model, hasAllBytes: !byteIDs.contains(-1))
    merges = try BytePairModel.mergeTable(model.merges.pairs, vocabulary)
    ignoresMerges = model.ignoreMerges ?? false
  }

  /// The token that `word` is as a whole, where the model prefers that to merging.
  func wholeToken(_ word: UnsafeBufferPointer<UInt8>) -> Int32? {
    guard ignoresMerges, let id = vocabulary.value(of: word), !special.contains(id) else { return nil }
    return id
  }

  private static func table(of vocabulary: [String: Int32]) -> ByteTable {
    var table = ByteTable(capacity: vocabulary.count)
    for (token, id) in vocabulary {
      // A token outside the byte alphabet cannot come out of bytes: it is reached only as an added token.
      if let bytes = ByteAlphabet.decode(token) { table.insert(bytes, id) }
    }
    return table
  }

  private static func mergeTable(
    _ pairs: [(left: String, right: String)], _ vocabulary: ByteTable
  ) throws -> MergeTable {
    var table = MergeTable(capacity: pairs.count)
    for (rank, pair) in pairs.enumerated() {
      guard let left = ByteAlphabet.decode(pair.left), let right = ByteAlphabet.decode(pair.right),
        let leftID = vocabulary.value(of: left), let rightID = vocabulary.value(of: right),
        let result = vocabulary.value(of: left + right)
      else {
        throw TextError("merge \(rank) \"\(pair.left) \(pair.right)\" names a token that is not in the vocabulary")
      }
      table.insert(left: leftID, right: rightID, merge: .init(rank: Int32(rank), result: result))
    }
    return table
  }

  private static func refuseUnsupported(_ model: TokenizerDocument.Model, hasAllBytes: Bool) throws {
    if let dropout = model.dropout, dropout != 0 { throw TextError("BPE dropout (\(dropout)) is not supported") }
    if let prefix = model.continuingSubwordPrefix, !prefix.isEmpty {
      throw TextError("the setting continuing_subword_prefix (\"\(prefix)\") is not supported")
    }
    if let suffix = model.endOfWordSuffix, !suffix.isEmpty {
      throw TextError("the setting end_of_word_suffix (\"\(suffix)\") is not supported")
    }
    if model.byteFallback == true { throw TextError("byte_fallback is not supported: the model is not byte-level") }
    if let unknown = model.unknownToken, !hasAllBytes {
      throw TextError("unk_token (\"\(unknown)\") is not supported in a vocabulary that lacks single bytes")
    }
  }
}
