import EagleCore
import Foundation

/// What a capture store holds: `manifest.json`, written when all shards are there.
package struct CaptureManifest: Codable, Sendable, Equatable {
  /// A shard of the store.
  package struct Shard: Codable, Sendable, Equatable {
    package var file: String
    package var rows: Int
    package var conversations: Int
    /// SHA-256 of the shard's token ids, and of its loss masks; nil in version 1.
    package var tokensFingerprint: String?
    package var masksFingerprint: String?
    /// The size of the file; nil where its writer did not see it.
    package var bytes: Int?

    package init(
      file: String, rows: Int, conversations: Int, fingerprint: ConversationsFingerprint? = nil, bytes: Int? = nil
    ) {
      self.file = file
      self.rows = rows
      self.conversations = conversations
      self.bytes = bytes
      tokensFingerprint = fingerprint?.tokens
      masksFingerprint = fingerprint?.masks
    }

    package var fingerprint: ConversationsFingerprint? {
      guard let tokensFingerprint, let masksFingerprint else { return nil }
      return ConversationsFingerprint(tokens: tokensFingerprint, masks: masksFingerprint)
    }

    enum CodingKeys: String, CodingKey {
      case file, rows, conversations, bytes
      case tokensFingerprint = "tokens_fingerprint"
      case masksFingerprint = "masks_fingerprint"
    }
  }

  package private(set) var format = CaptureAttributes.kind
  package private(set) var version = CaptureAttributes.version
  package private(set) var dtype: String
  /// The precision with which the processors computed; nil in version 1.
  private var computedPrecision: ComputePrecision?
  package var hiddenSize: Int
  package var vocabularySize: Int
  package var layers: [Int]
  package var targetFingerprint: String
  /// Fingerprint of everything that the token ids and masks were made from.
  package var dataFingerprint: String
  package private(set) var shardCount: Int
  package private(set) var shards: [Shard]

  enum CodingKeys: String, CodingKey {
    case format, version, dtype, layers, shards
    case computedPrecision = "precision"
    case hiddenSize = "hidden_size"
    case vocabularySize = "vocab_size"
    case targetFingerprint = "target_fingerprint"
    case dataFingerprint = "data_fingerprint"
    case shardCount = "shard_count"
  }

  package init(attributes: CaptureAttributes, dataFingerprint: String, shards: [Shard]) {
    dtype = attributes.format.dtype
    computedPrecision = attributes.precision
    hiddenSize = attributes.hiddenSize
    vocabularySize = attributes.vocabularySize
    layers = attributes.layers
    targetFingerprint = attributes.targetFingerprint
    self.dataFingerprint = dataFingerprint
    shardCount = shards.count
    self.shards = shards
  }

  package var attributes: CaptureAttributes {
    CaptureAttributes(
      hiddenSize: hiddenSize, vocabularySize: vocabularySize, layers: layers, targetFingerprint: targetFingerprint,
      format: StateFormat(dtype: dtype) ?? .bf16, precision: computedPrecision)
  }

  /// The precision that was requested, from a version 1 manifest, which has it after its data fingerprint.
  package var requestedPrecision: String? {
    dataFingerprint.range(of: ", captured in ").map { String(dataFingerprint[$0.upperBound...]) }
  }

  package static func path(in folder: String) -> String { "\(folder)/manifest.json" }

  /// Whether a file name is that of a shard.
  package static func isShardName(_ name: String) -> Bool {
    guard name.hasPrefix("shard-"), name.hasSuffix(".h5") else { return false }
    let digits = name.dropFirst(6).dropLast(3)
    return digits.count >= 5 && digits.allSatisfy { ("0"..."9").contains($0) }
  }

  /// `shard-00000.h5` and so on.
  package static func shardName(_ index: Int) -> String {
    let digits = String(index)
    return "shard-" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits + ".h5"
  }

  /// Removes shards that a killed process has begun in a folder.
  package static func removeUnfinishedShards(in folder: String) {
    FilePath.removeLeftovers(in: folder) { $0.hasPrefix(".shard-") }
  }

  /// Writes the store's manifest, whole or not at all.
  package func write(to folder: String) throws {
    try AtomicFile.writeJSON(self, to: Self.path(in: folder), style: .indented)
  }

  /// Reads the store's manifest; a missing or invalid one throws.
  package init(folder: String) throws {
    let path = Self.path(in: folder)
    guard FileTree.isFile(path) else {
      throw LocatedError(
        path: folder, problem: "is not a capture store: it has no manifest.json", advice: "run the capture to its end")
    }
    do {
      self = try JSONDecoder().decode(CaptureManifest.self, from: try FileTree.read(path))
    } catch is DecodingError {
      throw LocatedError(path: path, problem: "is not a capture manifest", advice: Self.advice)
    }
    try check(path: path)
  }

  private static let advice = "the manifest is damaged: remove it and capture again; whole shards stay"

  /// Counts of a damaged manifest must not become ranges and sums.
  private func checkCounts(path: String) throws {
    let most = 1 << 40
    let invalid = shards.first { !(0...most ~= $0.rows && 0...most ~= $0.conversations) }
    if let invalid {
      throw LocatedError(
        path: path,
        problem: "says that \(invalid.file) holds \(invalid.conversations) conversations in \(invalid.rows) rows",
        advice: Self.advice)
    }
    guard 1...(1 << 24) ~= hiddenSize, 1...(1 << 30) ~= vocabularySize else {
      throw LocatedError(
        path: path, problem: "has the impossible sizes hidden_size \(hiddenSize) and vocab_size \(vocabularySize)",
        advice: Self.advice)
    }
  }

  private func check(path: String) throws {
    guard format == CaptureAttributes.kind, CaptureAttributes.readableVersions.contains(version),
      StateFormat(dtype: dtype) != nil
    else {
      throw LocatedError(
        path: path,
        problem: "holds \(format) version \(version) in \(dtype); this program reads "
          + "\(CaptureAttributes.kind) versions \(CaptureAttributes.readableVersions.lowerBound) to "
          + "\(CaptureAttributes.readableVersions.upperBound) in "
          + StateFormat.allCases.map(\.dtype).joined(separator: " or "),
        advice: "remove it and capture again; shards of this format stay")
    }
    guard shardCount == shards.count else {
      throw LocatedError(path: path, problem: "lists \(shards.count) of \(shardCount) shards", advice: Self.advice)
    }
    try checkCounts(path: path)
    if let outside = shards.first(where: { $0.file.contains("/") || $0.file.hasPrefix(".") || $0.file.isEmpty }) {
      throw LocatedError(
        path: path, problem: "names the shard `\(outside.file)`, which is not a file of this folder",
        advice: Self.advice)
    }
  }
}
