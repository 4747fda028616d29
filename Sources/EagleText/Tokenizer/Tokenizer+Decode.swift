extension Tokenizer {
  /// The text of `ids`. Bytes that are no valid UTF-8 become U+FFFD, ids that name no token are left out.
  ///
  /// - Parameters:
  ///   - ids: token ids, those that no token has give nothing
  ///   - skipSpecial: leaves special tokens out
  ///   - startsText: whether the ids are the beginning of a text, where tokenizers from SentencePiece leave out the
  ///     space that they put there. Without it they follow other ids, as an answer follows its prompt, and keep it
  public func decode(_ ids: [Int32], skipSpecial: Bool, startsText: Bool = true) -> String {
    var bytes: [UInt8] = []
    var filter = LeadingSpaceFilter(decoder, startsText: startsText)
    for id in ids { append(id, to: &bytes, skipSpecial: skipSpecial, &filter) }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A decoder that turns ids into text as they arrive; all it returns together equals `decode` of all the ids, with
  /// the same `startsText`.
  public func makeStreamingDecoder(skipSpecial: Bool, startsText: Bool = false) -> StreamingDecoder {
    StreamingDecoder(tokenizer: self, skipSpecial: skipSpecial, startsText: startsText)
  }

  /// The bytes of one token inside a text, which may be a part of a character; control tokens are spelled out. Empty
  /// when no token has that id.
  public func bytes(of id: Int32) -> [UInt8] { store.bytes(of: id).map(Array.init) ?? [] }

  func append(_ id: Int32, to bytes: inout [UInt8], skipSpecial: Bool, _ filter: inout LeadingSpaceFilter) {
    guard !(skipSpecial && store.isSpecial(id)), let token = store.bytes(of: id) else { return }
    bytes.append(contentsOf: filter.rest(of: token, asFirst: store.firstBytes[id]))
  }
}

/// Decodes one id at a time and never splits a character: its first bytes wait for the others.
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecial: Bool
  /// Special tokens that are text all the same.
  private let shown: Set<Int32>
  private var pending: [UInt8] = []  // at most three bytes between calls
  private var filter: LeadingSpaceFilter

  init(tokenizer: Tokenizer, skipSpecial: Bool, startsText: Bool, shown: Set<Int32> = []) {
    self.tokenizer = tokenizer
    self.skipSpecial = skipSpecial
    self.shown = shown
    filter = LeadingSpaceFilter(tokenizer.decoder, startsText: startsText)
  }

  /// Returns the text that is complete with token `id`; empty when it ends inside a character.
  public mutating func append(_ id: Int32) -> String {
    tokenizer.append(id, to: &pending, skipSpecial: skipSpecial && !shown.contains(id), &filter)
    let complete = pending.count - StreamingDecoder.incompleteSuffix(of: pending)
    defer { pending.removeFirst(complete) }
    return String(decoding: pending[..<complete], as: UTF8.self)
  }

  /// Returns the bytes that were held back as U+FFFD, where the text ended inside a character; empty otherwise.
  public mutating func finish() -> String {
    defer { pending = [] }
    return String(decoding: pending, as: UTF8.self)
  }

  /// How many bytes at the end may still become a character.
  private static func incompleteSuffix(of bytes: [UInt8]) -> Int {
    for length in 1...3 where length <= bytes.count {
      let lead = bytes[bytes.count - length]
      if lead & 0xC0 == 0x80 { continue }
      return isPrefix(bytes.suffix(length), lead: lead) ? length : 0
    }
    return 0
  }

  /// Whether `bytes` is the beginning, and not all, of a well-formed character.
  private static func isPrefix(_ bytes: ArraySlice<UInt8>, lead: UInt8) -> Bool {
    guard bytes.count < expectedLength(lead) else { return false }
    guard bytes.count > 1 else { return true }
    let second = bytes[bytes.startIndex + 1]
    switch lead {
    case 0xE0: return second >= 0xA0
    case 0xED: return second <= 0x9F
    case 0xF0: return second >= 0x90
    case 0xF4: return second <= 0x8F
    default: return true
    }
  }

  private static func expectedLength(_ lead: UInt8) -> Int {
    switch lead {
    case 0xC2...0xDF: return 2
    case 0xE0...0xEF: return 3
    case 0xF0...0xF4: return 4
    default: return 0
    }
  }
}
