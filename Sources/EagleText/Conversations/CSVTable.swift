import Foundation

/// A table of comma-separated values with a line of column names (RFC 4180): fields in double quotes may hold commas,
/// line ends and doubled quotes.
struct CSVTable {
  struct Row {
    /// The line of the file in which the row begins, counted from 1.
    let line: Int
    let fields: [String]
  }

  let columns: [String]
  let rows: [Row]

  /// Throws with file and line where the text is no table.
  init(path: String) throws {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw TextError("\(path): cannot be opened for reading; check the path and its permissions")
    }
    guard
      let text = String(validating: data.starts(with: [0xEF, 0xBB, 0xBF]) ? data.dropFirst(3) : data, as: UTF8.self)
    else { throw TextError("\(path): not UTF-8 text; convert it first") }
    var all = try Self.parse(Array(text.utf8), path: path)
    guard !all.isEmpty else { throw TextError("\(path): the file is empty") }
    columns = all.removeFirst().fields
    rows = all
    for row in rows where row.fields.count != columns.count {
      throw TextError(
        "\(path), line \(row.line): \(row.fields.count) fields, and the first line names \(columns.count) columns")
    }
  }

  private static func parse(_ bytes: [UInt8], path: String) throws -> [Row] {
    var parser = Parser()
    for byte in bytes { parser.take(byte) }
    guard parser.state != .quoted else {
      throw TextError("\(path), line \(parser.first): a quote is opened and not closed")
    }
    parser.endRow()
    return parser.rows
  }

  /// Parses a text byte by byte. As in Python's csv module a quote opens a field only as its first character; any
  /// other, as in `5" disk`, stands for itself, and so does what follows a closing quote.
  private struct Parser {
    /// The position of the next byte in its field.
    enum State { case start, plain, quoted, behindQuote }

    var state = State.start
    var rows: [Row] = []
    /// The line in which the row begins, and the present one.
    private(set) var first = 1
    private var line = 1
    private var fields: [String] = []
    private var field: [UInt8] = []

    mutating func take(_ byte: UInt8) {
      if byte == UInt8(ascii: "\n") { line += 1 }
      switch (byte, state) {
      case (UInt8(ascii: "\""), .start), (UInt8(ascii: "\""), .behindQuote):
        if state == .behindQuote { field.append(byte) }
        state = .quoted
      case (UInt8(ascii: "\""), .quoted): state = .behindQuote
      case (_, .quoted): field.append(byte)
      case (UInt8(ascii: ","), _): endField()
      case (UInt8(ascii: "\n"), _): endRow()
      default:
        field.append(byte)
        // The \r of a line end keeps an empty quoted field in its row.
        if state != .behindQuote || byte != UInt8(ascii: "\r") { state = .plain }
      }
    }

    private mutating func endField() {
      fields.append(String(decoding: field, as: UTF8.self))
      (field, state) = ([], .start)
    }

    /// Ends the row, unless its line is empty.
    mutating func endRow() {
      if field.last == UInt8(ascii: "\r") {
        field.removeLast()
        if field.isEmpty, state == .plain { state = .start }
      }
      if !fields.isEmpty || !field.isEmpty || state != .start {
        endField()
        rows.append(Row(line: first, fields: fields))
      }
      (fields, state, first) = ([], .start, line)
    }
  }
}
