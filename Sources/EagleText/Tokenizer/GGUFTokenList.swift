/// What a GGUF file says about the order of a SentencePiece vocabulary's merges.
package enum SentencePieceMerges {
  /// `tokenizer.ggml.merges`, "left right" in order of rank.
  case listed([String])
  /// `tokenizer.ggml.scores`, one for each token: the two parts of the token with the highest score merge first.
  case scored([Double])
}

/// The tokens of a GGUF file with their types.
struct GGUFTokenList {
  private enum Kind {
    static let normal: Int32 = 1
    static let unknown: Int32 = 2
    static let control: Int32 = 3
    static let userDefined: Int32 = 4
    static let unused: Int32 = 5
    static let byte: Int32 = 6
  }

  private let tokens: [String]
  private let types: [Int32]
  /// The unknown token, when there is one.
  let unknown: Int?

  init(_ tokens: [String], types: [Int32], unknown: Int? = nil) throws {
    guard tokens.count == types.count else {
      throw TextError("the GGUF vocabulary has \(tokens.count) tokens, but \(types.count) token types")
    }
    (self.tokens, self.types) = (tokens, types)
    self.unknown = unknown.flatMap { tokens.indices.contains($0) ? $0 : nil } ?? types.firstIndex(of: Kind.unknown)
  }

  /// Whether there are tokens of single bytes.
  var hasBytes: Bool { types.contains(Kind.byte) }

  /// The vocabulary as JSON members; throws when a text comes twice.
  func entries() throws -> [String] {
    var seen = ByteTable(capacity: tokens.count)
    var entries: [String] = []
    for (id, token) in tokens.enumerated() where isUsed(id) {
      guard seen.insert(Array(token.utf8), Int32(id)) else {
        throw TextError("the GGUF vocabulary has the token \"\(token)\" twice, the second time as id \(id)")
      }
      entries.append("\(TokenizerFile.quoted(token)): \(id)")
    }
    return entries
  }

  /// Ids that only fill the vocabulary up are of the type of unused tokens, or of the unknown one.
  private func isUsed(_ id: Int) -> Bool {
    types[id] != Kind.unused && (types[id] != Kind.unknown || unknown == nil || id == unknown)
  }

  /// The added tokens as JSON objects.
  func addedTokens(stripsRight: (String) -> Bool = { _ in false }) -> [String] {
    tokens.indices.compactMap { id in
      let isSpecial = types[id] == Kind.control || types[id] == Kind.unknown && id == unknown
      guard isSpecial || types[id] == Kind.userDefined else { return nil }
      return "{\"id\": \(id), \"content\": \(TokenizerFile.quoted(tokens[id])), \"single_word\": false, "
        + "\"lstrip\": false, \"rstrip\": \(stripsRight(tokens[id])), \"normalized\": false, \"special\": \(isSpecial)}"
    }
  }

  /// The merges that scores amount to: every pair of tokens that together are a token, the highest score first. Pairs
  /// with the same result are in the order of transformers' converter: the longer left part, then the longer right part
  /// first, then lower ids.
  func merges(scores: [Double]) throws -> [(left: String, right: String)] {
    guard scores.count == tokens.count else {
      throw TextError("the GGUF vocabulary has \(tokens.count) tokens, but \(scores.count) scores")
    }
    let parts = try mergeable()
    var merges: [Merge] = []
    for id in tokens.indices where types[id] == Kind.normal {
      let pairs = Self.pairs(of: tokens[id], parts, score: scores[id])
      merges += pairs.sorted { ($0.leftID, $0.rightID) < ($1.leftID, $1.rightID) }
    }
    // Not a stable sort without the index.
    return merges.enumerated().sorted { first, second in
      let (a, b) = (first.element, second.element)
      if a.score != b.score { return a.score > b.score }
      if a.leftCount != b.leftCount { return a.leftCount > b.leftCount }
      if a.rightCount != b.rightCount { return a.rightCount > b.rightCount }
      return first.offset < second.offset
    }.map { (String($0.element.left), String($0.element.right)) }
  }

  private struct Merge {
    let left: Substring.UnicodeScalarView
    let right: Substring.UnicodeScalarView
    let leftID: Int32
    let rightID: Int32
    let score: Double
    let leftCount: Int
    let rightCount: Int
  }

  /// Bytes of a token that merges may make; all its halves are looked up.
  private static let longest = 1024

  /// The tokens that text is made of, by their bytes.
  private func mergeable() throws -> ByteTable {
    var table = ByteTable(capacity: tokens.count)
    for (id, token) in tokens.enumerated() where types[id] == Kind.normal || types[id] == Kind.userDefined {
      guard token.utf8.count <= Self.longest else {
        throw TextError(
          "token \(id) of the GGUF vocabulary has \(token.utf8.count) bytes, at most \(Self.longest) are supported")
      }
      table.insert(Array(token.utf8), Int32(id))
    }
    return table
  }

  /// Both parts of a token wherever both are tokens.
  private static func pairs(of token: String, _ parts: ByteTable, score: Double) -> [Merge] {
    let bytes = Array(token.utf8)
    let scalars = token.unicodeScalars
    let count = scalars.count
    var pairs: [Merge] = []
    var (length, end, leftCount) = (0, scalars.startIndex, 0)
    while leftCount + 1 < count {
      length += UTF8.width(scalars[end])
      scalars.formIndex(after: &end)
      leftCount += 1
      guard let left = parts.value(of: Array(bytes[..<length])), let right = parts.value(of: Array(bytes[length...]))
      else { continue }
      pairs.append(
        Merge(
          left: scalars[..<end], right: scalars[end...], leftID: left, rightID: right, score: score,
          leftCount: leftCount, rightCount: count - leftCount))
    }
    return pairs
  }
}
