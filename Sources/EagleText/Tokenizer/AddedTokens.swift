/// Tokens that are found in the text itself, before words: control tokens and what else a model added to its
/// vocabulary.
///
/// At each position the longest one counts. `lstrip` and `rstrip` tokens take the white space beside them along, a
/// `single_word` token stands beside no letter, digit or underscore.
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

  /// candidates[byte] are the tokens that begin with that byte, the longest first.
  private var candidates = [[Candidate]](repeating: [], count: 256)
  private(set) var isEmpty = true

  init(_ tokens: [TokenizerDocument.AddedToken], normalizer: Normalizer) {
    for token in tokens {
      let content = normalizer.normalized(token.content)
      guard let first = content.first else { continue }
      isEmpty = false
      candidates[Int(first)].append(
        Candidate(
          content: content, id: token.id, stripsLeft: token.stripsLeft ?? false,
          stripsRight: token.stripsRight ?? false, isSingleWord: token.singleWord ?? false,
          isSpecial: token.special ?? false))
    }
    for byte in candidates.indices { candidates[byte].sort { $0.content.count > $1.content.count } }
  }

  /// Cuts `text` at the tokens in it; empty stretches are left out. Where `isOrdinary` holds of the bytes of a special
  /// token, they are text.
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
      for candidate in candidates[Int(text[position])] where text[position...].starts(with: candidate.content) {
        if candidate.isSpecial, isOrdinary?(position..<position + candidate.content.count) == true { continue }
        return (candidate, position)
      }
    }
    return nil
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
