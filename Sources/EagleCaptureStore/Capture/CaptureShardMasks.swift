import EagleCore

/// The replacement of the loss masks of an existing shard: the states, by far the larger part, stay.
///
/// No other file is changed in place. The shard's mask fingerprint is replaced first and set last, and the library
/// marks a file that is open for writing, so that a shard whose change was interrupted is never taken for whole: it is
/// captured again.
package enum CaptureShardMasks {
  /// The text instead of the fingerprint while masks are written; no SHA-256 of anything.
  private static let none = String(repeating: "0", count: 64)

  /// - Parameters:
  ///   - path: a complete shard with the same tokens
  ///   - masks: the masks of all its conversations, concatenated: one byte a row
  ///   - fingerprint: the fingerprint of the tokens as they are, and of the new masks
  ///   - precision: recorded where the shard is of version 1, which becomes version 2
  package static func replace(
    path: String, masks: [UInt8], fingerprint: ConversationsFingerprint, precision: ComputePrecision
  ) throws {
    let file = try HDF5File(updating: path)
    let column = try HDF5Dataset<UInt8>(opening: "loss_mask", in: file)
    precondition(column.rows == masks.count, "\(masks.count) masks for \(column.rows) rows of \(path)")
    try file.setDigest("masks_fingerprint", none)
    try file.flush()
    try DiskSync.sync(path)
    try column.overwrite(0, masks)
    try column.close()
    try file.flush()
    try DiskSync.sync(path)
    if try file.text("precision") == nil { try file.setAttribute("precision", precision.rawValue) }
    try file.setDigest("tokens_fingerprint", fingerprint.tokens)
    try file.overwriteAttribute("version", CaptureAttributes.version)
    try file.setDigest("masks_fingerprint", fingerprint.masks)
    try file.close()
    try DiskSync.sync(path)
  }
}
