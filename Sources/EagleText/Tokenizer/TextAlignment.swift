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

  /// The bytes of the original, which has `count`, that the bytes of a range come from.
  func original(of range: Range<Int>, count: Int) -> Range<Int> {
    let start = original(of: range.lowerBound)
    guard let last = piece(holding: range.upperBound - 1), !pieces[last].isCopied else {
      return start..<max(start, original(of: range.upperBound - 1) + 1)
    }
    return start..<max(start, last + 1 < pieces.count ? pieces[last + 1].original : count)
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
