/// Tokens that are found in the text itself, before words: control tokens and what else a model added to its
/// vocabulary.
///
/// At each position the longest one counts. `lstrip` and `rstrip` tokens include the white space next to them, a
/// `single_word` token is next to no letter, digit or underscore.
struct AddedTokens: Sendable {
  /// A stretch of text between added tokens, or one of them, `at` the byte where its own text begins.
  enum Fragment {
    case text(Range<Int>)
    case token(Int32, at: Int)
  }

  private struct Candidate: Sendable {
    let content: [UInt8]
    let id: Int32
    let stripsLeft: Bool
    let stripsRight: Bool
    let isSingleWord: Bool
    let isSpecial: Bool
  }

  /// In the order of their bytes.
  private let candidates: [Candidate]
  /// [257] the candidates that begin with a byte are candidates[firsts[byte]..<firsts[byte + 1]].
  private let firsts: [Int]

  var isEmpty: Bool { candidates.isEmpty }

  init(_ tokens: [TokenizerDocument.AddedToken], normalizer: Normalizer) {
    candidates = tokens.compactMap { token in
      let content = normalizer.normalized(token.content)
      guard !content.isEmpty else { return nil }
      return Candidate(
        content: content, id: token.id, stripsLeft: token.stripsLeft, stripsRight: token.stripsRight,
        isSingleWord: token.singleWord, isSpecial: token.special)
    }.sorted { $0.content.lexicographicallyPrecedes($1.content) }
    var counts = [Int](repeating: 0, count: 257)
    for candidate in candidates { counts[Int(candidate.content[0]) + 1] += 1 }
    for byte in 0..<256 { counts[byte + 1] += counts[byte] }
    firsts = counts
  }

  /// Splits `text` at the tokens in it; empty stretches are left out. Where `isOrdinary` holds of the bytes of a
  /// special token, they are text.
  func fragments(
    of text: UnsafeBufferPointer<UInt8>, isOrdinary: ((Range<Int>) -> Bool)? = nil
  ) -> [Fragment] {
    guard !isEmpty else { return text.isEmpty ? [] : [.text(0..<text.count)] }
    var fragments: [Fragment] = []
    var end = 0  // of the last token, with its white space
    var readSpace = 0  // the farthest end of white space that was looked for: no byte is read twice
    var position = 0
    while let (candidate, start) = nextMatch(in: text, from: position, isOrdinary) {
      position = start + candidate.content.count
      guard !candidate.isSingleWord || CharacterClass.isBesideNoWord(start..<position, of: text) else { continue }
      let left = candidate.stripsLeft ? AddedTokens.trimmedEnd(of: text, before: start, downTo: end) : start
      if end < left { fragments.append(.text(end..<left)) }
      fragments.append(.token(candidate.id, at: start))
      end = position
      if candidate.stripsRight {
        readSpace = AddedTokens.trimmedStart(of: text, after: max(position, readSpace))
        end = readSpace
      }
    }
    if end < text.count { fragments.append(.text(end..<text.count)) }
    return fragments
  }

  private func nextMatch(
    in text: UnsafeBufferPointer<UInt8>, from start: Int, _ isOrdinary: ((Range<Int>) -> Bool)?
  ) -> (Candidate, Int)? {
    for position in start..<max(start, text.count) {
      let byte = Int(text[position])
      guard firsts[byte] < firsts[byte + 1] else { continue }
      if let found = longest(firsts[byte]..<firsts[byte + 1], at: position, of: text, isOrdinary) {
        return (candidates[found], position)
      }
    }
    return nil
  }

  /// The longest candidate whose bytes are at `position`, among those of `range`, which begin with the byte there.
  private func longest(
    _ range: Range<Int>, at position: Int, of text: UnsafeBufferPointer<UInt8>, _ isOrdinary: ((Range<Int>) -> Bool)?
  ) -> Int? {
    var (low, high, length) = (range.lowerBound, range.upperBound, 1)
    var found: Int?
    while true {
      // Shorter candidates come first, so one that ends here comes before those that continue.
      while low < high, candidates[low].content.count == length {
        let isText = candidates[low].isSpecial && isOrdinary?(position..<position + length) == true
        if !isText { found = low }
        low += 1
      }
      guard low < high, position + length < text.count else { return found }
      let byte = text[position + length]
      low = partition(low..<high) { candidates[$0].content[length] >= byte }
      high = partition(low..<high) { candidates[$0].content[length] > byte }
      length += 1
    }
  }

  /// The first index of which `holds`, which holds of all after it too.
  private func partition(_ range: Range<Int>, _ holds: (Int) -> Bool) -> Int {
    var (low, high) = (range.lowerBound, range.upperBound)
    while low < high {
      let middle = (low + high) / 2
      if holds(middle) { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// Where the white space that ends at `end` begins, which is not before `lowest`.
  private static func trimmedEnd(of text: UnsafeBufferPointer<UInt8>, before end: Int, downTo lowest: Int) -> Int {
    var start = end
    while start > lowest {
      let (scalar, first) = CharacterClass.character(before: start, of: text)
      guard scalar.properties.isWhitespace else { break }
      start = first
    }
    return start
  }

  /// Where the white space that begins at `start` ends.
  private static func trimmedStart(of text: UnsafeBufferPointer<UInt8>, after start: Int) -> Int {
    var end = start
    while end < text.count {
      let (scalar, next) = CharacterClass.character(at: end, of: text)
      guard scalar.properties.isWhitespace else { break }
      end = next
    }
    return end
  }
}
