import EagleTensor
import Foundation

/// Writes one shard of a capture store, conversation by conversation, straight to the file.
///
/// The file gets its name in `finish()`; a writer that is released before leaves nothing.
package final class CaptureShardWriter {
  // H hidden size · T rows of a conversation · N rows of the shard
  private let hiddenSize: Int
  private let auxWidth: Int
  private let version: Int
  private let columns: ConversationColumnsWriter
  private let auxHidden: StateColumnWriter  // [N, nH]
  private let lastHidden: StateColumnWriter  // [N, H]
  private let teacherArgmax: HDF5Dataset<Int32>  // [N]
  private let teacherLogSum: HDF5Dataset<Float>  // [N]
  private var hasher = ConversationsHasher()

  /// - Parameter rows: the tokens that will be appended, where they are known: chunks of the file then hold no others
  package convenience init(path: String, attributes: CaptureAttributes, rows: Int? = nil) throws {
    try self.init(path: path, attributes: attributes, version: CaptureAttributes.version, rows: rows)
  }

  /// - Parameter version: 1 for a shard as older programs wrote it, without precision and fingerprints
  package init(path: String, attributes: CaptureAttributes, version: Int, rows: Int? = nil) throws {
    precondition(!attributes.layers.isEmpty, "a store of no captured layers")
    guard let precision = attributes.precision else {
      preconditionFailure("a shard that does not say what computed it")
    }
    (hiddenSize, self.version) = (attributes.hiddenSize, version)
    auxWidth = attributes.layers.count * hiddenSize
    columns = try ConversationColumnsWriter(
      path: path, format: CaptureAttributes.kind, version: version, rows: rows)
    let file = columns.draft.file
    try file.setAttribute("hidden_size", attributes.hiddenSize)
    try file.setAttribute("vocab_size", attributes.vocabularySize)
    try file.setAttribute("layers", attributes.layers)
    try file.setAttribute("target_fingerprint", attributes.targetFingerprint)
    try file.setAttribute("dtype", attributes.format.dtype)
    if version > 1 { try file.setAttribute("precision", precision.rawValue) }
    auxHidden = try StateColumnWriter(
      "aux", states: attributes.layers.count, hiddenSize: hiddenSize, format: attributes.format, rows: rows, in: file)
    lastHidden = try StateColumnWriter(
      "last", states: 1, hiddenSize: hiddenSize, format: attributes.format, rows: rows, in: file)
    teacherArgmax = try HDF5Dataset(creating: "teacher_argmax", expecting: rows, in: file)
    teacherLogSum = try HDF5Dataset(creating: "teacher_logsumexp", expecting: rows, in: file)
  }

  /// Conversations appended so far.
  package var conversationCount: Int { columns.offsets.count - 1 }
  /// Rows appended so far.
  package var rowCount: Int { columns.rows }

  /// Appends a conversation of T tokens.
  ///
  /// - Parameters:
  ///   - ids: T tokens.
  ///   - mask: T values, 1 where a token carries loss.
  ///   - auxHidden: bfloat16 [T, nH], the states of n captured layers.
  ///   - lastHidden: bfloat16 [T, H], after the final norm.
  ///   - teacherArgmax: T ids, the target's choice at each row.
  ///   - teacherLogSum: T values, log-sum-exp of the target's logits over the full vocabulary.
  package func append(
    ids: [Int32], mask: [UInt8], auxHidden: Tensor, lastHidden: Tensor, teacherArgmax: [Int32], teacherLogSum: [Float]
  ) throws {
    let rows = ids.count
    precondition(
      auxHidden.dtype == .bfloat16 && auxHidden.shape == [rows, auxWidth],
      "aux states \(auxHidden.dtype) \(auxHidden.shape), not bfloat16 [\(rows), \(auxWidth)]")
    precondition(
      lastHidden.dtype == .bfloat16 && lastHidden.shape == [rows, hiddenSize],
      "last states \(lastHidden.dtype) \(lastHidden.shape), not bfloat16 [\(rows), \(hiddenSize)]")
    precondition(
      teacherArgmax.count == rows && teacherLogSum.count == rows,
      "\(teacherArgmax.count) teacher ids, \(teacherLogSum.count) log sums for \(rows) rows")
    try withExtendedLifetime((auxHidden, lastHidden)) {
      try self.auxHidden.append(auxHidden)
      try self.lastHidden.append(lastHidden)
    }
    try self.teacherArgmax.append(teacherArgmax)
    try self.teacherLogSum.append(teacherLogSum)
    try columns.append(ids: ids, mask: mask)
    hasher.add(ids: ids, mask: mask)
  }

  /// Closes the shard, marks it complete and gives it its name.
  package func finish() throws {
    try auxHidden.close()
    try lastHidden.close()
    try teacherArgmax.close()
    try teacherLogSum.close()
    if version > 1 { try setFingerprint() }
    try columns.finish()
  }

  private func setFingerprint() throws {
    let fingerprint = hasher.finish()
    try columns.draft.file.setDigest("tokens_fingerprint", fingerprint.tokens)
    try columns.draft.file.setDigest("masks_fingerprint", fingerprint.masks)
  }
}
