import Foundation

/// Everything that one running call of `encode` writes: matcher, merger, remembered words, and the tokens so far.
struct EncodingSession {
  let matcher = PatternMatcher()
  var tokens: [Token] = []
  /// Whether the starts of tokens are wanted.
  var locatesTokens = false
  private var merger = WordMerger()
  private var cache = WordCache()

  /// Appends the tokens of one word that begins at byte `offset` of the text.
  mutating func append(_ word: UnsafeBufferPointer<UInt8>, at offset: Int32, _ model: BytePairModel) {
    if cache.append(word, at: offset, to: &tokens) { return }
    let first = tokens.count
    if let id = model.wholeToken(word) {
      tokens.append(Token(id: id, start: 0))
    } else {
      merger.merge(word, with: model, into: &tokens)
    }
    cache.remember(word, tokens[first...])
    for index in first..<tokens.count { tokens[index].start += offset }
  }
}

extension EncodingSession {
  /// Maps the starts of tokens from `first` on, which count from the beginning of a changed stretch, back to the text,
  /// in which the stretch begins at byte `offset`.
  mutating func move(from first: Int, to offset: Int, _ alignments: [TextAlignment]) {
    guard !alignments.isEmpty else {
      if offset > 0 { for index in first..<tokens.count { tokens[index].start += Int32(offset) } }
      return
    }
    var latest = Int32(offset)
    for index in first..<tokens.count {
      latest = max(latest, Int32(offset + alignments.original(of: Int(tokens[index].start))))
      tokens[index].start = latest
    }
  }

  /// Appends the tokens of a text whose words begin with visible spaces, word by word: the ids are those of the text as
  /// a whole, and words that came before are remembered.
  mutating func appendSpaced(_ text: UnsafeBufferPointer<UInt8>, at offset: Int, _ model: BytePairModel) {
    let space = BytePairModel.space
    var (start, position, isInSpaces) = (0, 0, true)
    while position < text.count {
      let isSpace = text[position] == space[0] && text[position...].starts(with: space)
      if isSpace && !isInSpaces {
        append(
          UnsafeBufferPointer(rebasing: text[start..<position]), at: Int32(truncatingIfNeeded: offset + start), model)
        start = position
      }
      isInSpaces = isSpace
      position = isSpace ? position + space.count : UTF8Text.nextCharacter(in: text, after: position)
    }
    if start < text.count {
      append(UnsafeBufferPointer(rebasing: text[start...]), at: Int32(truncatingIfNeeded: offset + start), model)
    }
  }
}

/// The words seen lately with their tokens. It is emptied when full, so its size is bounded whatever the text.
struct WordCache {
  private static let mostWords = 1 << 16
  private static let mostBytes = 1 << 22
  private static let longestWord = 128

  private var words = ByteTable()  // word -> index into ranges
  private var ranges: [Range<Int>] = []
  private var tokens: [Token] = []

  /// Appends the remembered tokens of `word`, moved to `offset`; false when it is not known.
  func append(_ word: UnsafeBufferPointer<UInt8>, at offset: Int32, to result: inout [Token]) -> Bool {
    guard word.count <= WordCache.longestWord, let index = words.value(of: word) else { return false }
    for position in ranges[Int(index)] {
      result.append(Token(id: tokens[position].id, start: tokens[position].start + offset))
    }
    return true
  }

  mutating func remember(_ word: UnsafeBufferPointer<UInt8>, _ wordTokens: ArraySlice<Token>) {
    guard word.count <= WordCache.longestWord else { return }
    if words.count >= WordCache.mostWords || words.keyBytes >= WordCache.mostBytes { removeAll() }
    words.insert(word, Int32(ranges.count))
    ranges.append(tokens.count..<tokens.count + wordTokens.count)
    tokens.append(contentsOf: wordTokens)
  }

  private mutating func removeAll() {
    words.removeAll()
    ranges.removeAll(keepingCapacity: true)
    tokens.removeAll(keepingCapacity: true)
  }
}

/// Sessions that wait for the next call: as many as calls ever ran at the same time.
final class SessionPool: @unchecked Sendable {
  private final class Box {
    var session = EncodingSession()
  }

  private let lock = NSLock()
  private var idle: [Box] = []

  /// Lends `body` a session with no tokens in it.
  func withSession<Result>(_ body: (inout EncodingSession) throws -> Result) rethrows -> Result {
    let box = lock.withLock { idle.popLast() } ?? Box()
    defer { lock.withLock { idle.append(box) } }
    box.session.tokens.removeAll(keepingCapacity: true)
    return try body(&box.session)
  }
}
