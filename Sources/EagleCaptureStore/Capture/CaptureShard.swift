import EagleCore
import EagleModels
import EagleTensor
import Foundation

/// A complete shard of a capture store, read conversation by conversation. Reading is safe from any thread.
package final class CaptureShard: Sendable {
  package let path: String
  package let attributes: CaptureAttributes
  /// Fingerprint of the shard's conversations; nil in version 1.
  package let fingerprint: ConversationsFingerprint?
  private let columns: ConversationColumns
  private let auxHidden: StateColumn  // [N, nH]
  private let lastHidden: StateColumn  // [N, H]
  private let teacherArgmax: HDF5Dataset<Int32>?  // [N]
  private let teacherLogSum: HDF5Dataset<Float>?  // [N]

  /// Opens a shard and checks its format, version, completeness and shapes.
  package init(path: String) throws {
    self.path = path
    columns = try ConversationColumns(
      path: path, format: CaptureAttributes.kind, versions: CaptureAttributes.readableVersions)
    let file = columns.file
    attributes = try Self.attributes(of: file, version: columns.version)
    fingerprint = try columns.version == 1 ? nil : Self.fingerprint(of: file)
    auxHidden = try StateColumn("aux", states: attributes.layers.count, attributes, columns: columns)
    lastHidden = try StateColumn("last", states: 1, attributes, columns: columns)
    teacherArgmax = try file.contains("teacher_argmax") ? HDF5Dataset(opening: "teacher_argmax", in: file) : nil
    teacherLogSum =
      try file.contains("teacher_logsumexp") ? HDF5Dataset(opening: "teacher_logsumexp", in: file) : nil
    if let teacherArgmax { try columns.check(teacherArgmax) }
    if let teacherLogSum { try columns.check(teacherLogSum) }
  }

  package var conversationCount: Int { columns.conversationCount }
  package var rowCount: Int { columns.rows }
  /// The first row of each conversation, and the number of rows: conversation c is rows offsets[c] ..< offsets[c + 1].
  package var offsets: [Int] { columns.offsets }

  /// Reads a conversation; a damaged chunk (wrong checksum) throws.
  ///
  /// - Parameter states: rows of states that are wanted, from the first; all when nil
  package func read(conversation: Int, states: Int? = nil) throws -> CapturedConversation {
    let (ids, mask) = try readTokens(conversation: conversation)
    let all = columns.range(of: conversation)
    let range = all.prefix(states ?? all.count)
    return CapturedConversation(
      ids: ids, lossMask: mask, auxHidden: try auxHidden.read(range), lastHidden: try lastHidden.read(range),
      teacherArgmax: try teacherArgmax?.read(range), teacherLogSum: try teacherLogSum?.read(range))
  }

  /// Reads a conversation's tokens without its states.
  package func readTokens(conversation: Int) throws -> (ids: [Int32], lossMask: [UInt8]) {
    let (ids, mask) = try columns.read(conversation: conversation)
    let limit = Int32(clamping: attributes.vocabularySize)
    if let invalid = ids.first(where: { $0 < 0 || $0 >= limit }) {
      throw LocatedError(
        path: path, problem: "conversation \(conversation) has the token id \(invalid), the vocabulary \(limit) tokens",
        advice: "remove the shard and capture it again")
    }
    return (ids, mask)
  }

  /// Fingerprint of the conversations as they are stored, computed from them.
  package func computedFingerprint() throws -> ConversationsFingerprint {
    var hasher = ConversationsHasher()
    for conversation in 0..<conversationCount {
      let tokens = try readTokens(conversation: conversation)
      hasher.add(ids: tokens.ids, mask: tokens.lossMask)
    }
    return hasher.finish()
  }

  private static func fingerprint(of file: HDF5File) throws -> ConversationsFingerprint {
    ConversationsFingerprint(
      tokens: try required("tokens_fingerprint", try file.text("tokens_fingerprint"), file),
      masks: try required("masks_fingerprint", try file.text("masks_fingerprint"), file))
  }

  private static func precision(of file: HDF5File, version: Int) throws -> ComputePrecision? {
    if version == 1 { return nil }
    let text = try required("precision", try file.text("precision"), file)
    guard let precision = ComputePrecision(rawValue: text) else {
      throw LocatedError(path: file.path, problem: "the attribute `precision` is \(text), not bf16 or fp32")
    }
    return precision
  }

  private static func attributes(of file: HDF5File, version: Int) throws -> CaptureAttributes {
    let dtype = try required("dtype", try file.text("dtype"), file)
    guard let format = StateFormat(dtype: dtype) else {
      let known = StateFormat.allCases.map(\.dtype).joined(separator: " or ")
      throw LocatedError(path: file.path, problem: "the attribute `dtype` is \(dtype), not \(known)")
    }
    let attributes = CaptureAttributes(
      hiddenSize: try required("hidden_size", try file.integers("hidden_size")?.first, file),
      vocabularySize: try required("vocab_size", try file.integers("vocab_size")?.first, file),
      layers: try required("layers", try file.integers("layers"), file),
      targetFingerprint: try required("target_fingerprint", try file.text("target_fingerprint"), file), format: format,
      precision: try precision(of: file, version: version))
    guard 1...(1 << 24) ~= attributes.hiddenSize, attributes.vocabularySize > 0, !attributes.layers.isEmpty else {
      throw LocatedError(
        path: file.path,
        problem: "impossible attributes: hidden_size \(attributes.hiddenSize), vocab_size "
          + "\(attributes.vocabularySize), layers \(attributes.layers)", advice: "capture again")
    }
    return attributes
  }

  private static func required<Value>(_ name: String, _ value: Value?, _ file: HDF5File) throws -> Value {
    if let value { return value }
    throw LocatedError(path: file.path, problem: "lacks the attribute `\(name)`", advice: "capture again")
  }
}
