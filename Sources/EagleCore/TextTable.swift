import Foundation

/// The columns of a table in plain text.
///
/// ```swift
/// let table = TextTable(.left(10), .right(6))
/// table.line("capture", "12.5")  // "capture     12.5"
/// ```
package struct TextTable {
  /// The alignment and the width of a column, in characters.
  package enum Column {
    /// Cells begin at the left edge. A longer cell pushes what follows, and keeps a blank from it.
    case left(Int)
    /// Cells end at the right edge. A longer cell keeps a blank from what comes before.
    case right(Int)

    /// The same column, wide enough for a cell and a blank after it if it is a left one.
    fileprivate func holding(_ longest: Int) -> Column {
      guard case .left(let width) = self else { return self }
      return .left(max(width, longest + 1))
    }

    fileprivate func text(_ cell: String) -> String {
      switch self {
      case .left(let width): cell + Self.blanks(max(1, width - cell.count))
      case .right(let width): Self.blanks(max(1, width - cell.count)) + cell
      }
    }

    private static func blanks(_ count: Int) -> String { String(repeating: " ", count: count) }
  }

  private let columns: [Column]

  package init(_ columns: Column...) { self.columns = columns }
  package init(_ columns: [Column]) { self.columns = columns }

  /// A line of cells. Cells after the last column are appended as they are.
  package func line(_ cells: String...) -> String { line(cells) }

  /// The lines of several rows. Left columns become as wide as their longest cell, so that the columns stay aligned.
  package func lines(_ rows: [[String]]) -> [String] {
    let wide = columns.enumerated().map { index, column in
      column.holding(rows.compactMap { index < $0.count ? $0[index].count : nil }.max() ?? 0)
    }
    return rows.map(TextTable(wide).line)
  }

  package func line(_ cells: [String]) -> String {
    zip(cells, columns).map { $1.text($0) }.joined() + cells.dropFirst(columns.count).joined()
  }
}
