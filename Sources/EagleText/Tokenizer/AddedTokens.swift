/// Tokens that are found in the text itself, before words: control tokens and what else a model added to its
/// vocabulary.
///
/// At each position the longest one counts. `lstrip` and `rstrip` tokens take the white space beside them along.
struct AddedTokens: Sendable {
  /// A stretch of text between added tokens, or one of them.
  enum Fragment {
    case text(Range<Int>)
    case token(Int32, at: Int)
  }

  private struct Candidate: Sendable {
    let content: [UInt8]
    let id: Int32
    let stripsLeft: Bool
    let stripsRight: Bool
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
          stripsRight: token.stripsRight ?? false))
    }
    for byte in candidates.indices { candidates[byte].sort { $0.content.count > $1.content.count } }
  }

  /// Cuts `text` at the tokens in it; empty stretches are left out.
  func fragments(of text: UnsafeBufferPointer<UInt8>) -> [Fragment] {
    guard !isEmpty else { return text.isEmpty ? [] : [.text(0..<text.count)] }
    var fragments: [Fragment] = []
    var end = 0  // of the last token, with its white space
    var position = 0
    while let (candidate, start) = nextMatch(in: text, from: position) {
      position = start + candidate.content.count
      let left = candidate.stripsLeft ? max(end, AddedTokens.trimmedEnd(of: text, before: start)) : start
      if end < left { fragments.append(.text(end..<left)) }
      fragments.append(.token(candidate.id, at: left))
      end = candidate.stripsRight ? AddedTokens.trimmedStart(of: text, after: position) : position
    }
    if end < text.count { fragments.append(.text(end..<text.count)) }
    return fragments
  }

  private func nextMatch(in text: UnsafeBufferPointer<UInt8>, from start: Int) -> (Candidate, Int)? {
    for position in start..<max(start, text.count) {
      for candidate in candidates[Int(text[position])] where text[position...].starts(with: candidate.content) {
        return (candidate, position)
      }
    }
    return nil
  }

  /// Where the white space that ends at `end` begins.
  private static func trimmedEnd(of text: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
    var start = end
    while start > 0 {
      var first = start - 1
      while first > 0, text[first] & 0xC0 == 0x80 { first -= 1 }
      guard isWhiteSpace(text[first..<start]) else { break }
      start = first
    }
    return start
  }

  /// Where the white space that begins at `start` ends.
  private static func trimmedStart(of text: UnsafeBufferPointer<UInt8>, after start: Int) -> Int {
    var end = start
    while end < text.count {
      var next = end + 1
      while next < text.count, text[next] & 0xC0 == 0x80 { next += 1 }
      guard isWhiteSpace(text[end..<next]) else { break }
      end = next
    }
    return end
  }

  /// Whether the bytes of one character are those of white space.
  private static func isWhiteSpace(_ character: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
    String(decoding: character, as: UTF8.self).unicodeScalars.first!.properties.isWhitespace
  }
}
