import EagleCore
import Foundation

/// The columns that token stores and capture shards share, being written: conversations, concatenated.
///
/// `input_ids` int32 [N], `loss_mask` uint8 [N], `offsets` int64 [C + 1], and the root attributes `format`, `version`
/// and, last of all, `complete`.
final class ConversationColumnsWriter {
  let draft: HDF5Draft
  private(set) var offsets: [Int64] = [0]
  private let ids: HDF5Dataset<Int32>
  private let mask: HDF5Dataset<UInt8>

  /// - Parameter rows: the tokens that will be appended, where they are known
  init(path: String, format: String, version: Int, rows: Int? = nil) throws {
    draft = try HDF5Draft(path: path)
    try draft.file.setAttribute("format", format)
    try draft.file.setAttribute("version", version)
    ids = try HDF5Dataset(creating: "input_ids", expecting: rows, in: draft.file)
    mask = try HDF5Dataset(creating: "loss_mask", expecting: rows, in: draft.file)
  }

  /// Rows written so far.
  var rows: Int { Int(offsets[offsets.count - 1]) }

  func append(ids newIds: [Int32], mask newMask: [UInt8]) throws {
    precondition(newIds.count == newMask.count, "\(newIds.count) ids with a mask of \(newMask.count)")
    try ids.append(newIds)
    try mask.append(newMask)
    offsets.append(Int64(rows + newIds.count))
  }

  /// Closes the columns and gives the file its name; the owner's own datasets are closed before.
  func finish() throws {
    try ids.close()
    try mask.close()
    let dataset = try HDF5Dataset<Int64>(creating: "offsets", expecting: offsets.count, in: draft.file)
    try dataset.append(offsets)
    try dataset.close()
    try draft.commit()
  }
}

/// The columns of a token store or capture shard, being read.
final class ConversationColumns: Sendable {
  let file: HDF5File
  /// The first row of each conversation, and the number of rows: conversation c is rows offsets[c] ..< offsets[c + 1].
  let offsets: [Int]
  let version: Int
  private let ids: HDF5Dataset<Int32>
  private let mask: HDF5Dataset<UInt8>

  init(path: String, format: String, versions: ClosedRange<Int>) throws {
    file = try HDF5File(reading: path)
    version = try Self.checkedVersion(file, format: format, versions: versions)
    ids = try HDF5Dataset(opening: "input_ids", in: file)
    mask = try HDF5Dataset(opening: "loss_mask", in: file)
    let dataset = try HDF5Dataset<Int64>(opening: "offsets", in: file)
    offsets = try dataset.read(0..<dataset.rows).map { Int($0) }
    try Self.check(offsets, rows: ids.rows, path: path)
    try check(mask)
  }

  var rows: Int { ids.rows }
  var conversationCount: Int { offsets.count - 1 }

  func range(of conversation: Int) -> Range<Int> {
    precondition(
      conversation >= 0 && conversation < conversationCount, "conversation \(conversation) of \(conversationCount)")
    return offsets[conversation]..<offsets[conversation + 1]
  }

  func read(conversation: Int) throws -> (ids: [Int32], mask: [UInt8]) {
    let range = range(of: conversation)
    return (try ids.read(range), try mask.read(range))
  }

  func mask(conversation: Int) throws -> [UInt8] { try mask.read(range(of: conversation)) }

  /// Checks that another column has as many rows.
  func check(_ column: HDF5Dataset<some HDF5Scalar>) throws {
    guard column.rows != rows else { return }
    throw LocatedError(
      path: file.path, problem: "`\(column.name)` has \(column.rows) rows, `input_ids` has \(rows)",
      advice: "the file is damaged: remove it and make it again")
  }

  private static func checkedVersion(_ file: HDF5File, format: String, versions: ClosedRange<Int>) throws -> Int {
    let found = try file.text("format") ?? "none"
    guard found == format else {
      throw LocatedError(
        path: file.path, problem: "the attribute `format` is \(found), not \(format)", advice: "name another file")
    }
    let number = try file.integers("version")?.first
    guard let number, versions.contains(number) else {
      throw LocatedError(
        path: file.path,
        problem: "\(format) version \(number.map(String.init) ?? "none"); version \(versions.upperBound) can be read",
        advice: "make the file again")
    }
    guard try file.integers("complete") == [1] else {
      throw LocatedError(
        path: file.path, problem: "the file is not complete: its writer was interrupted",
        advice: "remove it and make it again")
    }
    return number
  }

  private static func check(_ offsets: [Int], rows: Int, path: String) throws {
    let isRising = zip(offsets, offsets.dropFirst()).allSatisfy { $0 <= $1 }
    guard offsets.first == 0, offsets.last == rows, isRising else {
      throw LocatedError(
        path: path, problem: "`offsets` do not cut the \(rows) rows into conversations",
        advice: "the file is damaged: remove it and make it again")
    }
  }
}
