extension Tokenizer {
  /// The ids of `text`. Added tokens that are spelled out in it become their ids, control tokens too.
  ///
  /// - Throws: `TextError` for a text on which the tokenizer's pattern takes more than linear time
  public func encode(_ text: String) throws -> [Int32] {
    try withTokens(of: text, recognising: .all) { tokens in tokens.map(\.id) }
  }

  /// The ids of a whole text, with the tokens that a model needs before it (BOS) and after it. These tokens are those
  /// of tokenizer_config.json, or else of the post_processor of tokenizer.json. Tokens that the text has already are
  /// not added again. A rendered chat template has such tokens of its own: `encode` is right for it.
  public func encodeFramed(_ text: String) throws -> [Int32] { frame.around(try encode(text)) }

  /// The ids of `text` with added tokens read as ordinary characters: no text can forge a control token.
  public func encodeOrdinary(_ text: String) throws -> [Int32] {
    try withTokens(of: text, recognising: .none) { tokens in tokens.map(\.id) }
  }

  /// The ids of `encodeOrdinary`, and for each the UTF-8 offset in `text` where its token begins.
  public func encodeOrdinaryWithStarts(_ text: String) throws -> (ids: [Int32], starts: [Int]) {
    try withTokens(of: text, recognising: .none, locating: true) { tokens in
      (tokens.map(\.id), tokens.map { Int($0.start) })
    }
  }

  /// The ids of a rendered prompt, with the byte of `text` where each token begins.
  ///
  /// Special tokens are recognised where none of their bytes is in one of the `ordinary` ranges, which hold what users
  /// and models wrote: a message that spells out a special token stays text and cannot forge a turn. Added tokens that
  /// are not special, such as `<think>`, are recognised everywhere, as they are when a model's answer is encoded.
  /// Nothing else depends on the ranges: a word may reach across a border, and a token that includes white space
  /// (`lstrip`, `rstrip`) includes that of a message too. Without ranges the ids are those of `encode`.
  ///
  /// A token begins where its own text does, without white space that it includes. Where a normalizer changed the text,
  /// it begins with the stretch that was changed. Starts never decrease.
  ///
  /// - Parameter ordinary: UTF-8 offsets in `text`, in any order
  /// - Throws: `TextError` for a text on which the tokenizer's pattern takes more than linear time
  package func encode(_ text: String, ordinary: [Range<Int>]) throws -> (ids: [Int32], starts: [Int]) {
    let ranges = OrdinaryRanges(ordinary, count: text.utf8.count)
    return try withTokens(of: text, recognising: .outside(ranges), locating: true) { tokens in
      (tokens.map(\.id), tokens.map { Int($0.start) })
    }
  }

  /// Which added tokens count as such.
  enum Recognition {
    case none, all
    /// All that are not special, and special ones outside of ranges of the original text.
    case outside(OrdinaryRanges)
  }

  private func withTokens<Value>(
    of text: String, recognising recognition: Recognition, locating: Bool = false, _ body: ([Token]) -> Value
  ) throws -> Value {
    var text = text
    return try sessions.withSession { (session: inout EncodingSession) throws -> Value in
      session.locatesTokens = locating
      try text.withUTF8 { try appendFragments(of: $0, recognition, &session) }
      return body(session.tokens)
    }
  }

  private func appendFragments(
    of text: UnsafeBufferPointer<UInt8>, _ recognition: Recognition, _ session: inout EncodingSession
  ) throws {
    var isOrdinary: ((Range<Int>) -> Bool)?
    switch recognition {
    case .none: return try appendNormalized(text, at: 0, recognition, &session)
    case .all: break
    case .outside(let ranges): if !ranges.isEmpty { isOrdinary = { ranges.overlap($0) } }
    }
    for fragment in rawTokens.fragments(of: text, isOrdinary: isOrdinary) {
      switch fragment {
      case .token(let id, let start): session.tokens.append(Token(id: id, start: Int32(start)))
      case .text(let range):
        let part = UnsafeBufferPointer(rebasing: text[range])
        try appendNormalized(part, at: range.lowerBound, recognition, &session)
      }
    }
  }

  /// Encodes a stretch that begins at byte `offset` of the text; tokens that are found after normalisation count too.
  private func appendNormalized(
    _ text: UnsafeBufferPointer<UInt8>, at offset: Int, _ recognition: Recognition, _ session: inout EncodingSession
  ) throws {
    let first = session.tokens.count
    var alignments: [TextAlignment]? = session.locatesTokens ? [] : nil
    if let normalized = normalizer.normalized(text, &alignments) {
      try normalized.withUnsafeBufferPointer { bytes in
        try appendPieces(bytes, startsText: offset == 0, recognition.onStretch(at: offset, alignments ?? []), &session)
      }
    } else {
      try appendPieces(text, startsText: offset == 0, recognition.onStretch(at: offset, []), &session)
    }
    if session.locatesTokens { session.move(from: first, to: offset, alignments ?? []) }
  }

  private func appendPieces(
    _ text: UnsafeBufferPointer<UInt8>, startsText: Bool, _ recognition: Recognition.OnStretch,
    _ session: inout EncodingSession
  ) throws {
    guard recognition.isOn, !normalizedTokens.isEmpty else {
      return try appendPrefixed(text, at: 0, startsText: startsText, &session)
    }
    for fragment in normalizedTokens.fragments(of: text, isOrdinary: recognition.isOrdinary) {
      switch fragment {
      case .token(let id, let start): session.tokens.append(Token(id: id, start: Int32(start)))
      case .text(let range):
        let part = UnsafeBufferPointer(rebasing: text[range])
        try appendPrefixed(
          part, at: range.lowerBound, startsText: startsText && range.lowerBound == 0, &session)
      }
    }
  }

  /// Puts a space before a stretch, or makes its spaces visible, where the pre-tokenizer does so.
  private func appendPrefixed(
    _ text: UnsafeBufferPointer<UInt8>, at offset: Int, startsText: Bool, _ session: inout EncodingSession
  ) throws {
    let first = session.tokens.count
    var alignments: [TextAlignment]? = session.locatesTokens ? [] : nil
    let prefix = startsText || !preTokenizer.prefixesOnlyStart ? preTokenizer.prefix : preTokenizer.innerPrefix
    if !prefix.isEmpty, let changed = prefix.normalized(text, &alignments) {
      try changed.withUnsafeBufferPointer { try appendWords($0, &session) }
    } else {
      try appendWords(text, &session)
    }
    if session.locatesTokens { session.move(from: first, to: offset, alignments ?? []) }
  }

  private func appendWords(_ text: UnsafeBufferPointer<UInt8>, _ session: inout EncodingSession) throws {
    let model = model
    try preTokenizer.forEachWord(in: text, session.matcher) { word, offset in
      if model.beginsWordsWithSpace {
        session.appendSpaced(word, at: offset, model)
      } else {
        session.append(word, at: Int32(truncatingIfNeeded: offset), model)
      }
    }
  }
}

extension Tokenizer.Recognition {
  /// What is recognised in one stretch of the text after it was normalised.
  struct OnStretch {
    let isOn: Bool
    let isOrdinary: ((Range<Int>) -> Bool)?
  }

  /// For a stretch that begins at byte `offset` of the text, to which `alignments` map back.
  func onStretch(at offset: Int, _ alignments: [TextAlignment]) -> OnStretch {
    switch self {
    case .none: return OnStretch(isOn: false, isOrdinary: nil)
    case .all: return OnStretch(isOn: true, isOrdinary: nil)
    case .outside(let ranges):
      guard !ranges.isEmpty else { return OnStretch(isOn: true, isOrdinary: nil) }
      return OnStretch(isOn: true) { bytes in
        let original: Range<Int> = alignments.original(of: bytes)
        return ranges.overlap(original.lowerBound + offset..<original.upperBound + offset)
      }
    }
  }
}
