/// Characters as the units of words, as SentencePiece has them: what the vocabulary lacks becomes the tokens of its
/// bytes, `<0x00>` to `<0xFF>`, or the unknown token.
struct CharacterUnits: Sendable {
  /// What becomes of a character that is no token.
  enum Fallback: Sendable {
    case bytes([Int32])  // [256]
    /// One token for each, or one for each run of them.
    case unknown(Int32, isFused: Bool)
    case nothing
  }

  private let fallback: Fallback
  private let vocabulary: ByteTable
  private let basic: [Int32]  // [65536] ids of the characters up to U+FFFF, -1 where there is none

  init(_ model: TokenizerDocument.Model, _ vocabulary: ByteTable) throws {
    self.vocabulary = vocabulary
    fallback = try CharacterUnits.fallback(model, vocabulary)
    var basic = [Int32](repeating: -1, count: 0x10000)
    for (token, id) in model.vocabulary {
      guard let scalar = token.unicodeScalars.first, token.unicodeScalars.dropFirst().isEmpty else { continue }
      if scalar.value < 0x10000 { basic[Int(scalar.value)] = id }
    }
    self.basic = basic
  }

  private static func fallback(_ model: TokenizerDocument.Model, _ vocabulary: ByteTable) throws -> Fallback {
    if model.byteFallback {
      let ids = (0..<256).map { vocabulary.value(of: name(of: UInt8($0))) ?? -1 }
      if !ids.contains(-1) { return .bytes(ids) }
      throw TextError("byte_fallback is not supported in a vocabulary that lacks tokens of single bytes")
    }
    guard let unknown = model.unknownToken else { return .nothing }
    guard let id = vocabulary.value(of: Array(unknown.utf8)) else {
      throw TextError("unk_token (\"\(unknown)\") is not in the vocabulary")
    }
    return .unknown(id, isFused: model.fusesUnknown)
  }

  /// The token of a byte, `<0x0A>`.
  private static func name(of byte: UInt8) -> [UInt8] {
    let digits = String(byte, radix: 16, uppercase: true)
    return Array("<0x\(digits.count == 1 ? "0" : "")\(digits)>".utf8)
  }

  /// Calls `body` with the id of each unit of `word` and the byte where it begins.
  func forEachUnit(of word: UnsafeBufferPointer<UInt8>, _ body: (Int32, Int) -> Void) {
    var position = 0
    var isAfterUnknown = false
    while position < word.count {
      let (scalar, end) = UTF8Text.character(at: position, of: word)
      let known = id(of: scalar, UnsafeBufferPointer(rebasing: word[position..<end]))
      if let known {
        body(known, position)
      } else {
        switch fallback {
        case .bytes(let ids): for place in position..<end { body(ids[Int(word[place])], place) }
        case .unknown(let id, let isFused): if !(isFused && isAfterUnknown) { body(id, position) }
        case .nothing: break
        }
      }
      isAfterUnknown = known == nil
      position = end
    }
  }

  private func id(of scalar: UInt32, _ bytes: UnsafeBufferPointer<UInt8>) -> Int32? {
    guard scalar < 0x10000 else { return vocabulary.value(of: bytes) }
    let id = basic[Int(scalar)]
    return id < 0 ? nil : id
  }
}
