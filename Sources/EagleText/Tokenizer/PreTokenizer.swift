/// Cuts text into the words that byte-pair encoding works on.
struct PreTokenizer: Sendable {
  /// The stages, each of which cuts the parts of the one before into its matches and the text between them.
  let stages: [CompiledPattern]
  let addsPrefixSpace: Bool

  /// What GPT-2 calls a word.
  static let gpt2Pattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// Builds the stages of a tokenizer.json; what is not supported is refused by name.
  init(_ component: TokenizerDocument.Component?) throws {
    guard let component else { throw TextError("there is no pre_tokenizer, expected one that ends with ByteLevel") }
    let components = component.type == "Sequence" ? component.preTokenizers ?? [] : [component]
    guard components.last?.type == "ByteLevel" else {
      throw TextError("the pre_tokenizer \(components.last?.type ?? component.type) does not end with ByteLevel")
    }
    stages = try components.compactMap(PreTokenizer.stage)
    addsPrefixSpace = components.last?.addPrefixSpace ?? true
    if addsPrefixSpace, components.count > 1 {
      throw TextError("ByteLevel with add_prefix_space after another pre_tokenizer is not supported")
    }
  }

  private static func stage(_ component: TokenizerDocument.Component) throws -> CompiledPattern? {
    switch component.type {
    case "ByteLevel":
      guard component.useRegex ?? true else { return nil }
      return try CompiledPattern(OnigurumaPattern.translated(gpt2Pattern))
    case "Digits":
      let digit = "[\\p{N}\(UnicodeAdditions.digits)]"
      return try CompiledPattern(component.individualDigits == true ? digit : digit + "+")
    case "Split":
      return try CompiledPattern(OnigurumaPattern.translated(splitPattern(component)))
    default:
      throw TextError("the pre_tokenizer \(component.type) is not supported: Split, Digits and ByteLevel are")
    }
  }

  private static func splitPattern(_ component: TokenizerDocument.Component) throws -> String {
    guard component.behavior == "Isolated" else {
      throw TextError("the Split behavior \(component.behavior ?? "(none)") is not supported, only Isolated is")
    }
    if component.invert == true { throw TextError("a Split with invert is not supported") }
    guard let pattern = component.pattern?.regex else {
      throw TextError("a Split whose pattern is not a Regex is not supported")
    }
    return pattern
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
    func pass(_ range: Range<Int>) throws {
      let part = UnsafeBufferPointer(rebasing: text[range])
      try cut(part, at: offset + range.lowerBound, stage: stage + 1, matcher, body)
    }
    var end = 0  // of the last match
    var start = 0  // of the next search
    while start <= text.count, let match = try matcher.firstMatch(of: stages[stage], in: text, from: start) {
      try pass(end..<match.lowerBound)
      try pass(match)
      end = match.upperBound
      start = match.isEmpty ? PreTokenizer.nextCharacter(in: text, after: end) : end
    }
    try pass(end..<text.count)
  }

  /// The byte after the character at `position`.
  private static func nextCharacter(in text: UnsafeBufferPointer<UInt8>, after position: Int) -> Int {
    var next = position + 1
    while next < text.count, text[next] & 0xC0 == 0x80 { next += 1 }
    return next
  }
}
