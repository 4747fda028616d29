/// Splits text into the words that byte-pair encoding works on.
struct PreTokenizer: Sendable {
  /// The stages, each of which splits the parts of the one before.
  private let stages: [SplitStage]
  /// What changes a stretch before it is cut: a space in front (ByteLevel), or spaces that become visible (Metaspace).
  let prefix: Normalizer
  /// Whether `prefix` belongs only to a stretch that begins the whole text, `innerPrefix` to all others.
  let prefixesOnlyStart: Bool
  let innerPrefix: Normalizer
  /// Whether the vocabulary is written in GPT-2's byte alphabet: there is a ByteLevel.
  let isByteLevel: Bool

  private static let mostStages = 16

  /// Builds the stages of a tokenizer.json; what is not supported is refused by name. Without a pre_tokenizer a stretch
  /// is one word.
  init(_ component: TokenizerFields?) throws {
    let components = try component.map(PreTokenizer.flattened) ?? []
    guard components.count <= Self.mostStages else {
      throw TextError("there are \(components.count) pre_tokenizers: too many")
    }
    var (stages, prefix, isByteLevel) = ([SplitStage](), Normalizer(steps: []), false)
    var innerPrefix: Normalizer?
    for (index, fields) in components.enumerated() {
      let type = try fields.required("type", try fields.string("type"))
      switch type {
      case "ByteLevel":
        guard !isByteLevel else { throw TextError("a second ByteLevel pre_tokenizer is not supported") }
        isByteLevel = true
        if try fields.bool("add_prefix_space") ?? true {
          guard index == 0 else {
            throw TextError("ByteLevel with add_prefix_space after another pre_tokenizer is not supported")
          }
          prefix = Normalizer(steps: [.prependUnlessThere([0x20])])
        }
        if try fields.bool("use_regex") ?? true { stages.append(try SplitStage(gpt2: ())) }
      case "Metaspace":
        guard index == 0 else { throw TextError("Metaspace after another pre_tokenizer is not supported") }
        let metaspace = try Metaspace(fields)
        prefix = metaspace.steps(of: metaspace.scheme)
        if metaspace.scheme == .first { innerPrefix = metaspace.steps(of: .never) }
        if metaspace.splits { stages.append(try SplitStage(before: metaspace.replacement)) }
      default:
        stages.append(try SplitStage(type: type, fields, isOnAlphabet: isByteLevel))
      }
    }
    (self.stages, self.prefix, self.isByteLevel) = (stages, prefix, isByteLevel)
    prefixesOnlyStart = innerPrefix != nil
    self.innerPrefix = innerPrefix ?? prefix
  }

  private static func flattened(_ component: TokenizerFields) throws -> [TokenizerFields] {
    guard try component.string("type") == "Sequence" else { return [component] }
    return try component.objects("pretokenizers")?.flatMap(flattened) ?? []
  }

  /// Calls `body` with each word of `text` and the byte where it begins, in order.
  ///
  /// - Throws: `TextError` for a text on which a pattern takes more than linear time
  func forEachWord(
    in text: UnsafeBufferPointer<UInt8>, _ matcher: PatternMatcher,
    _ body: (UnsafeBufferPointer<UInt8>, Int) -> Void
  ) throws {
    try cut(text, at: 0, stage: 0, matcher, body)
  }

  private func cut(
    _ text: UnsafeBufferPointer<UInt8>, at offset: Int, stage: Int, _ matcher: PatternMatcher,
    _ body: (UnsafeBufferPointer<UInt8>, Int) -> Void
  ) throws {
    guard !text.isEmpty else { return }
    guard stage < stages.count else { return body(text, offset) }
    let isLast = stage == stages.count - 1
    try stages[stage].forEachPart(of: text, matcher) { range in
      let part = UnsafeBufferPointer(rebasing: text[range])
      // A word of the last stage is passed on at once: another call would count references for each.
      if isLast { return part.isEmpty ? () : body(part, offset + range.lowerBound) }
      try cut(part, at: offset + range.lowerBound, stage: stage + 1, matcher, body)
    }
  }
}

/// The pre-tokenizer of SentencePiece: a space is a visible character, one is put in front, words begin with one.
struct Metaspace {
  enum Scheme: String {
    case always, first, never
  }

  let replacement: [UInt8]
  let scheme: Scheme
  let splits: Bool

  init(_ fields: TokenizerFields) throws {
    replacement = Array((try fields.string("replacement") ?? "\u{2581}").utf8)
    guard 1...4 ~= replacement.count else { throw TextError("the replacement of a Metaspace is not one character") }
    splits = try fields.bool("split") ?? true
    let name = try fields.string("prepend_scheme")
    // Older files have only `add_prefix_space`.
    let isPrefixed = try fields.bool("add_prefix_space") ?? true
    guard let scheme = Scheme(rawValue: name ?? (isPrefixed ? "always" : "never")) else {
      throw TextError("the prepend_scheme \(name ?? "") of a Metaspace is not supported: always, first and never are")
    }
    self.scheme = isPrefixed ? scheme : .never
  }

  /// What happens to a stretch of text.
  func steps(of scheme: Scheme) -> Normalizer {
    let spaces = Normalizer.Step.replace([0x20], with: replacement)
    return Normalizer(steps: scheme == .never ? [spaces] : [spaces, .prependUnlessThere(replacement)])
  }
}
