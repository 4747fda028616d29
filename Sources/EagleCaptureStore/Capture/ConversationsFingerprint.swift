import Crypto
import EagleStorage

/// The fingerprint of conversations in order: of their token ids, and apart from them of their loss masks.
///
/// Each is the SHA-256, as 64 lower-case hexadecimal digits, over the conversations in order: the number of tokens as
/// 8 bytes (little endian), then the int32 ids (little endian) or the mask's bytes.
package struct ConversationsFingerprint: Codable, Sendable, Equatable {
  package var tokens: String
  package var masks: String

  package init(tokens: String, masks: String) {
    self.tokens = tokens
    self.masks = masks
  }

  enum CodingKeys: String, CodingKey {
    case tokens = "tokens_fingerprint"
    case masks = "masks_fingerprint"
  }
}

/// A fingerprint that is computed conversation by conversation.
package struct ConversationsHasher {
  private var tokens = SHA256()
  private var masks = SHA256()

  package init() {}

  /// Adds a conversation of T tokens; `mask` has T bytes.
  package mutating func add(ids: [Int32], mask: [UInt8]) {
    precondition(ids.count == mask.count, "\(ids.count) ids with a mask of \(mask.count)")
    withUnsafeBytes(of: Int64(ids.count).littleEndian) {
      tokens.update(bufferPointer: $0)
      masks.update(bufferPointer: $0)
    }
    ids.withUnsafeBytes { tokens.update(bufferPointer: $0) }
    mask.withUnsafeBytes { masks.update(bufferPointer: $0) }
  }

  package func finish() -> ConversationsFingerprint {
    ConversationsFingerprint(tokens: FileDigest.hex(tokens.finalize()), masks: FileDigest.hex(masks.finalize()))
  }
}
