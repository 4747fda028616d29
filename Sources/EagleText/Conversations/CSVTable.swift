import Foundation

/// A table of comma-separated values with a line of column names (RFC 4180): fields in double quotes may hold commas, line
/// ends and doubled quotes.
struct CSVTable {
  struct Row {
    /// Line of the file in which the row begins, counted from 1.
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
    var rows: [Row] = []
    var (fields, field, line, first): ([String], [UInt8], Int, Int) = ([], [], 1, 1)
    var (isQuoted, hasQuotes) = (false, false)
    func text() -> String { String(decoding: field, as: UTF8.self) }
    func endRow() {
      if field.last == UInt8(ascii: "\r") { field.removeLast() }
      if !fields.isEmpty || !field.isEmpty || hasQuotes { rows.append(Row(line: first, fields: fields + [text()])) }
      (fields, field, hasQuotes) = ([], [], false)
    }
    for (i, byte) in bytes.enumerated() {
      switch byte {
      case UInt8(ascii: "\""):
        // A doubled quote inside quotes closes and opens again, and stands for one.
        if !isQuoted, hasQuotes, i > 0, bytes[i - 1] == byte { field.append(byte) }
        isQuoted.toggle()
        hasQuotes = true
      case UInt8(ascii: ",") where !isQuoted:
        fields.append(text())
        (field, hasQuotes) = ([], false)
      case UInt8(ascii: "\n"):
        line += 1
        if isQuoted {
          field.append(byte)
        } else {
          endRow()
          first = line
        }
      default: field.append(byte)
      }
    }
    guard !isQuoted else { throw TextError("\(path), line \(first): a quote is opened and not closed") }
    endRow()
    return rows
  }
}
