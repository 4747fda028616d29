/// Where the bytes of a changed text come from.
///
/// The changed text is a row of pieces. A copied piece has the bytes of the original; any other piece was made from a
/// stretch of the original as a whole, so that all of its bytes come from the first byte of that stretch.
struct TextAlignment: Sendable {
  private struct Piece: Sendable {
    let start: Int  // in the changed text
    let original: Int
    let isCopied: Bool
  }

  private var pieces: [Piece] = []
  private let originalCount: Int

  /// An alignment with an original of this many bytes.
  init(originalCount: Int) { self.originalCount = originalCount }

  /// Adds a piece that begins at byte `start` of the changed text and comes from byte `original` on.
  mutating func append(at start: Int, from original: Int, isCopied: Bool) {
    if let last = pieces.last, last.start == start { pieces.removeLast() }
    pieces.append(Piece(start: start, original: original, isCopied: isCopied))
  }

  /// The byte of the original that byte `position` of the changed text comes from.
  func original(of position: Int) -> Int {
    guard let piece = piece(holding: position) else { return position }
    return pieces[piece].isCopied ? pieces[piece].original + (position - pieces[piece].start) : pieces[piece].original
  }

  /// The bytes of the original that the bytes of a range come from.
  func original(of range: Range<Int>) -> Range<Int> {
    let start = original(of: range.lowerBound)
    guard !range.isEmpty else { return start..<start }
    let last = range.upperBound - 1
    guard let piece = piece(holding: last), !pieces[piece].isCopied else {
      return start..<max(start, original(of: last) + 1)
    }
    return start..<max(start, piece + 1 < pieces.count ? pieces[piece + 1].original : originalCount)
  }

  /// The last piece that begins at or before `position`.
  private func piece(holding position: Int) -> Int? {
    var (low, high) = (0, pieces.count)
    while low < high {
      let middle = (low + high) / 2
      if pieces[middle].start <= position { low = middle + 1 } else { high = middle }
    }
    return low == 0 ? nil : low - 1
  }
}

/// Alignments of several changes, the first change first.
extension [TextAlignment] {
  func original(of position: Int) -> Int { reversed().reduce(position) { $1.original(of: $0) } }
  func original(of range: Range<Int>) -> Range<Int> { reversed().reduce(range) { $1.original(of: $0) } }
}
