/// The bytes of every token by id, and which ids are special.
struct VocabularyBytes: Sendable {
  private var starts: [Int32]  // [size] first byte of the token in `bytes`, -1 for ids that name no token
  private var lengths: [Int32]  // [size]
  private var bytes: [UInt8] = []
  private(set) var special: Set<Int32> = []
  /// Tokens whose text is outside the byte alphabet, and added tokens, by their UTF-8.
  private var literals = ByteTable()
  private let decoder: TokenDecoder
  /// The bytes of tokens at the beginning of a text, where the decoder has such.
  private(set) var firstBytes: [Int32: [UInt8]] = [:]

  var size: Int { starts.count }

  /// Collects a vocabulary and its added tokens; throws when two tokens claim one id or one token two.
  init(
    vocabulary: [(token: String, id: Int32)], added: [TokenizerDocument.AddedToken], normalizer: Normalizer,
    decoder: TokenDecoder
  ) throws {
    let highest = max(vocabulary.map(\.id).max() ?? -1, added.map(\.id).max() ?? -1)
    let lowest = min(vocabulary.map(\.id).min() ?? 0, added.map(\.id).min() ?? 0)
    guard lowest >= 0 else { throw TextError("the token id \(lowest) is negative: ids count from 0") }
    guard highest < 1 << 24 else { throw TextError("the token id \(highest) is out of range") }
    self.decoder = decoder
    starts = [Int32](repeating: -1, count: Int(highest) + 1)
    lengths = [Int32](repeating: 0, count: Int(highest) + 1)
    let known = VocabularyBytes.ids(of: added, in: vocabulary)
    for (token, id) in vocabulary { try insert(token, id) }
    for token in added { try insert(token, known: known.value(of: Array(token.content.utf8)), normalizer) }
  }

  /// The ids that the vocabulary gives to the texts of added tokens.
  private static func ids(
    of added: [TokenizerDocument.AddedToken], in vocabulary: [(token: String, id: Int32)]
  ) -> ByteTable {
    var contents = ByteTable(capacity: added.count)
    for token in added { contents.insert(Array(token.content.utf8), token.id) }
    var ids = ByteTable(capacity: added.count)
    for (token, id) in vocabulary {
      let text = Array(token.utf8)
      if contents.value(of: text) != nil { ids.insert(text, id) }
    }
    return ids
  }

  private mutating func insert(
    _ token: TokenizerDocument.AddedToken, known: Int32?, _ normalizer: Normalizer
  ) throws {
    if let known, known != token.id {
      throw TextError("the added token \"\(token.content)\" has the id \(token.id), but \(known) in the vocabulary")
    }
    if known == nil {
      try insert(
        token.normalized ? String(decoding: normalizer.normalized(token.content), as: UTF8.self) : token.content,
        token.id)
    }
    literals.insert(Array(token.content.utf8), token.id)
    if token.special { special.insert(token.id) }
  }

  private mutating func insert(_ token: String, _ id: Int32) throws {
    guard starts[Int(id)] < 0 else { throw TextError("the id \(id) belongs to two tokens, one is \"\(token)\"") }
    if decoder.isByteLevel, ByteAlphabet.decode(token) == nil { literals.insert(Array(token.utf8), id) }
    let content = decoder.bytes(of: token)
    if let first = decoder.firstBytes(of: token) { firstBytes[id] = first }
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
