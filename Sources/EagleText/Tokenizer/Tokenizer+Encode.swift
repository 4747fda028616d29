extension Tokenizer {
  /// The ids of `text`. Added tokens that are spelled out in it become their ids, control tokens too.
  ///
  /// - Throws: `TextError` for a text on which the tokenizer's pattern takes more than linear time
  public func encode(_ text: String) throws -> [Int32] {
    try sessions.withSession { session in
      try withUTF8(of: text) { bytes in try appendFragments(of: bytes, &session) }
      return session.tokens.map(\.id)
    }
  }

  /// The ids of `text` with added tokens read as ordinary characters: no text can forge a control token.
  public func encodeOrdinary(_ text: String) throws -> [Int32] {
    try sessions.withSession { session in
      try withUTF8(of: text) { bytes in try appendNormalized(bytes, &session, recognising: nil) }
      return session.tokens.map(\.id)
    }
  }

  /// Encodes as `encodeOrdinary` does, with the byte of the normalised text where each token begins.
  public func encodeOrdinaryWithStarts(_ text: String) throws -> (ids: [Int32], starts: [Int]) {
    try sessions.withSession { session in
      try withUTF8(of: text) { bytes in try appendNormalized(bytes, &session, recognising: nil) }
      return (session.tokens.map(\.id), session.tokens.map { Int($0.start) })
    }
  }

  private func withUTF8(of text: String, _ body: (UnsafeBufferPointer<UInt8>) throws -> Void) rethrows {
    var text = text
    try text.withUTF8(body)
  }

  private func appendFragments(of text: UnsafeBufferPointer<UInt8>, _ session: inout EncodingSession) throws {
    for fragment in rawTokens.fragments(of: text) {
      switch fragment {
      case .token(let id, let start): session.tokens.append(Token(id: id, start: Int32(start)))
      case .text(let range):
        try appendNormalized(UnsafeBufferPointer(rebasing: text[range]), &session, recognising: normalizedTokens)
      }
    }
  }

  private func appendNormalized(
    _ text: UnsafeBufferPointer<UInt8>, _ session: inout EncodingSession, recognising added: AddedTokens?
  ) throws {
    guard let normalized = normalizer.normalized(text) else { return try appendPieces(text, &session, added) }
    try normalized.withUnsafeBufferPointer { try appendPieces($0, &session, added) }
  }

  private func appendPieces(
    _ text: UnsafeBufferPointer<UInt8>, _ session: inout EncodingSession, _ added: AddedTokens?
  ) throws {
    guard let added, !added.isEmpty else { return try appendPrefixed(text, &session) }
    for fragment in added.fragments(of: text) {
      switch fragment {
      case .token(let id, let start): session.tokens.append(Token(id: id, start: Int32(start)))
      case .text(let range): try appendPrefixed(UnsafeBufferPointer(rebasing: text[range]), &session)
      }
    }
  }

  /// Puts the space before a text that does not begin with one, where the tokenizer asks for it. That space counts as
  /// byte -1 of the text.
  private func appendPrefixed(_ text: UnsafeBufferPointer<UInt8>, _ session: inout EncodingSession) throws {
    guard preTokenizer.addsPrefixSpace, let first = text.first, first != 0x20 else {
      return try appendWords(text, &session, firstByte: 0)
    }
    let prefixed = [0x20] + Array(text)
    try prefixed.withUnsafeBufferPointer { try appendWords($0, &session, firstByte: -1) }
  }

  private func appendWords(
    _ text: UnsafeBufferPointer<UInt8>, _ session: inout EncodingSession, firstByte: Int
  ) throws {
    let model = model
    try preTokenizer.forEachWord(in: text, session.matcher) { word, offset in
      session.append(word, at: Int32(offset + firstByte), model)
    }
  }
}
