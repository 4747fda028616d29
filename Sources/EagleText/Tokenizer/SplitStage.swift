/// One stage of a pre-tokenizer: a pattern, and what becomes of its matches and of the text between them.
struct SplitStage: Sendable {
  enum Behavior: String, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  private let pattern: CompiledPattern
  private let behavior: Behavior
  private let isInverted: Bool
  /// Whether the pattern sees the bytes in GPT-2's byte alphabet: the stage comes after ByteLevel.
  private let isOnAlphabet: Bool

  /// What GPT-2 calls a word.
  static let gpt2Pattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  private init(
    _ pattern: String, _ behavior: Behavior = .isolated, isInverted: Bool = false, isOnAlphabet: Bool = false
  ) throws {
    self.pattern = try CompiledPattern(pattern)
    (self.behavior, self.isInverted, self.isOnAlphabet) = (behavior, isInverted, isOnAlphabet)
  }

  /// The words of GPT-2, which ByteLevel cuts.
  init(gpt2: Void) throws { try self.init(OnigurumaPattern.translated(Self.gpt2Pattern)) }

  /// Words that begin with `mark`.
  init(before mark: [UInt8]) throws {
    try self.init(Self.literal(String(decoding: mark, as: UTF8.self)), .mergedWithNext)
  }

  /// A stage of a tokenizer.json.
  init(type: String, _ fields: TokenizerFields, isOnAlphabet: Bool) throws {
    switch type {
    case "Digits":
      let isSingle = try fields.bool("individual_digits") ?? false
      try self.init(
        "[\\p{N}\(UnicodeAdditions.digits)]", isSingle ? .isolated : .contiguous, isOnAlphabet: isOnAlphabet)
    case "Punctuation":
      try self.init(
        UnicodeAdditions.punctuation, try Self.behavior(fields, otherwise: "Isolated"), isOnAlphabet: isOnAlphabet)
    case "Split":
      try self.init(
        try Self.pattern(fields), try Self.behavior(fields, otherwise: nil),
        isInverted: try fields.bool("invert") ?? false, isOnAlphabet: isOnAlphabet)
    default:
      throw TextError(
        "the pre_tokenizer \(type) is not supported: Split, Digits, Punctuation, Metaspace and ByteLevel are")
    }
  }

  private static func behavior(_ fields: TokenizerFields, otherwise: String?) throws -> Behavior {
    let name = try fields.string("behavior") ?? otherwise
    guard let behavior = name.flatMap(Behavior.init) else {
      throw TextError("the Split behavior \(name ?? "(none)") is not supported")
    }
    return behavior
  }

  private static func pattern(_ fields: TokenizerFields) throws -> String {
    let pattern = try fields.fields("pattern")
    if let regex = try pattern?.string("Regex") { return try OnigurumaPattern.translated(regex) }
    guard let text = try pattern?.string("String"), !text.isEmpty else {
      throw TextError("a Split whose pattern is neither a Regex nor a String is not supported")
    }
    return literal(text)
  }

  /// A pattern that matches `text` itself.
  private static func literal(_ text: String) -> String {
    text.unicodeScalars.map { "\\x{\(String($0.value, radix: 16))}" }.joined()
  }
}

extension SplitStage {
  /// Calls `body` with the bytes of each part of `text`, in order; empty parts may come too.
  func forEachPart(
    of text: UnsafeBufferPointer<UInt8>, _ matcher: PatternMatcher, _ body: (Range<Int>) throws -> Void
  ) throws {
    if isOnAlphabet { return try forEachAlphabetPart(of: text, matcher, body) }
    if behavior == .isolated { return try forEachIsolated(in: text, matcher, body) }
    var stretches: [(range: Range<Int>, isMatch: Bool)] = []
    try forEachStretch(of: text, matcher) { stretches.append(($0, $1 != isInverted)) }
    for range in parts(stretches) { try body(range) }
  }

  /// Matches and the stretches between them are parts alike.
  private func forEachIsolated(
    in text: UnsafeBufferPointer<UInt8>, _ matcher: PatternMatcher, _ body: (Range<Int>) throws -> Void
  ) throws {
    let pattern = pattern
    var end = 0  // of the last match
    var start = 0  // of the next search
    while start <= text.count, let match = try matcher.firstMatch(of: pattern, in: text, from: start) {
      if end < match.lowerBound { try body(end..<match.lowerBound) }
      try body(match)
      end = match.upperBound
      start = match.isEmpty ? UTF8Text.nextCharacter(in: text, after: end) : end
    }
    if end < text.count { try body(end..<text.count) }
  }

  /// The matches and the stretches between them.
  private func forEachStretch(
    of text: UnsafeBufferPointer<UInt8>, _ matcher: PatternMatcher, _ body: (Range<Int>, Bool) throws -> Void
  ) throws {
    let pattern = pattern
    var end = 0  // of the last match
    var start = 0  // of the next search
    while start <= text.count, let match = try matcher.firstMatch(of: pattern, in: text, from: start) {
      if end < match.lowerBound { try body(end..<match.lowerBound, false) }
      try body(match, true)
      end = match.upperBound
      start = match.isEmpty ? UTF8Text.nextCharacter(in: text, after: end) : end
    }
    if end < text.count { try body(end..<text.count, false) }
  }

  /// The parts that matches and the stretches between them make.
  private func parts(_ stretches: [(range: Range<Int>, isMatch: Bool)]) -> [Range<Int>] {
    switch behavior {
    case .isolated: return stretches.map(\.range)
    case .removed: return stretches.filter { !$0.isMatch }.map(\.range)
    case .mergedWithPrevious: return united(stretches) { previous, next in next && !previous }
    case .contiguous: return united(stretches, ==)
    case .mergedWithNext:
      let backwards = united(stretches.reversed()) { previous, next in next && !previous }
      return backwards.reversed()
    }
  }

  /// Unites a stretch with the one before where `joins` says so of whether that one and it are matches. The first has
  /// none before it, which counts as no match.
  private func united(
    _ stretches: [(range: Range<Int>, isMatch: Bool)], _ joins: (Bool, Bool) -> Bool
  ) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var previous = false
    for (range, isMatch) in stretches {
      if let last = parts.last, joins(previous, isMatch) {
        parts[parts.count - 1] =
          min(last.lowerBound, range.lowerBound)..<max(last.upperBound, range.upperBound)
      } else {
        parts.append(range)
      }
      previous = isMatch
    }
    return parts
  }

  /// Cuts the text of the byte alphabet, where every byte is a character, and gives the bytes that it stands for.
  private func forEachAlphabetPart(
    of bytes: UnsafeBufferPointer<UInt8>, _ matcher: PatternMatcher, _ body: (Range<Int>) throws -> Void
  ) throws {
    var (text, starts) = ([UInt8](), [Int]())
    for byte in bytes {
      starts.append(text.count)
      text.append(contentsOf: String(ByteAlphabet.scalars[Int(byte)]).utf8)
    }
    starts.append(text.count)
    let stage = try SplitStage(onPlainText: self)
    var byte = 0
    try text.withUnsafeBufferPointer { text in
      try stage.forEachPart(of: text, matcher) { range in
        while starts[byte] < range.lowerBound { byte += 1 }
        let first = byte
        while starts[byte] < range.upperBound { byte += 1 }
        try body(first..<byte)
      }
    }
  }

  private init(onPlainText stage: SplitStage) throws {
    (pattern, behavior, isInverted, isOnAlphabet) = (stage.pattern, stage.behavior, stage.isInverted, false)
  }
}
