/// The bytes of every token by id, and which ids are special.
struct VocabularyBytes: Sendable {
  private var starts: [Int32]  // [size] first byte of the token in `bytes`, -1 for ids that name no token
  private var lengths: [Int32]  // [size]
  private var bytes: [UInt8] = []
  private(set) var special: Set<Int32> = []
  /// Tokens whose text is outside the byte alphabet, and added tokens, by their UTF-8.
  private var literals = ByteTable()

  var size: Int { starts.count }

  /// Collects a vocabulary and its added tokens; throws when two tokens claim one id or one token two.
  init(vocabulary: [String: Int32], added: [TokenizerDocument.AddedToken], normalizer: Normalizer) throws {
    let highest = max(vocabulary.values.max() ?? -1, added.map(\.id).max() ?? -1)
    let lowest = min(vocabulary.values.min() ?? 0, added.map(\.id).min() ?? 0)
    guard lowest >= 0 else { throw TextError("the token id \(lowest) is negative: ids count from 0") }
    guard highest < 1 << 24 else { throw TextError("the token id \(highest) is out of range") }
    starts = [Int32](repeating: -1, count: Int(highest) + 1)
    lengths = [Int32](repeating: 0, count: Int(highest) + 1)
    for (token, id) in vocabulary { try insert(token, id) }
    for token in added { try insert(token, vocabulary, normalizer) }
  }

  private mutating func insert(
    _ token: TokenizerDocument.AddedToken, _ vocabulary: [String: Int32], _ normalizer: Normalizer
  ) throws {
    let known = VocabularyBytes.id(of: token.content, in: vocabulary)
    if let known, known != token.id {
      throw TextError("the added token \"\(token.content)\" has the id \(token.id), but \(known) in the vocabulary")
    }
    if known == nil {
      let isNormalized = token.normalized ?? true
      let content = isNormalized ? String(decoding: normalizer.normalized(token.content), as: UTF8.self) : token.content
      try insert(content, token.id)
    }
    literals.insert(Array(token.content.utf8), token.id)
    if token.special ?? false { special.insert(token.id) }
  }

  /// The id of exactly `token`: a dictionary of strings also finds canonically equivalent ones.
  private static func id(of token: String, in vocabulary: [String: Int32]) -> Int32? {
    guard let index = vocabulary.index(forKey: token) else { return nil }
    return vocabulary[index].key.utf8.elementsEqual(token.utf8) ? vocabulary[index].value : nil
  }

  private mutating func insert(_ token: String, _ id: Int32) throws {
    guard starts[Int(id)] < 0 else { throw TextError("the id \(id) belongs to two tokens, one is \"\(token)\"") }
    let decoded = ByteAlphabet.decode(token)
    if decoded == nil { literals.insert(Array(token.utf8), id) }
    let content = decoded ?? Array(token.utf8)
    starts[Int(id)] = Int32(bytes.count)
    lengths[Int(id)] = Int32(content.count)
    bytes.append(contentsOf: content)
  }

  func isSpecial(_ id: Int32) -> Bool { special.contains(id) }

  /// The id of an added token or of a token outside the byte alphabet, by its text.
  func literalID(_ text: String) -> Int32? { literals.value(of: Array(text.utf8)) }

  /// The bytes of token `id`, nil when no token has that id.
  func bytes(of id: Int32) -> ArraySlice<UInt8>? {
    guard id >= 0, Int(id) < starts.count, starts[Int(id)] >= 0 else { return nil }
    let start = Int(starts[Int(id)])
    return bytes[start..<start + Int(lengths[Int(id)])]
  }
}
