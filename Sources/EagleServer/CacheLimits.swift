import EagleDecoding
import EagleDraft
import EagleModels
import Foundation

/// The limits of a server's KV caches: a context for each text, and memory for all of them.
package struct CacheLimits: Sendable, Equatable {
  /// Most tokens of one text, its prompt included.
  package let context: Int
  /// Bytes of all caches together.
  package let bytes: Int
  /// The same in tokens, of texts as long as the context.
  package let tokens: Int
  /// What a text takes.
  let size: CacheSize

  /// The tokens that one text may have where no context is set, even when not all texts of a batch could.
  private static let defaultContext = 8192

  /// - Parameters:
  ///   - config: context and bytes as far as the user has set them, and the size of a batch
  ///   - target: whose positions bound a context, and whose layers the caches serve
  ///   - draft: the head, which has a cache of its own
  ///   - availableBytes: memory that the system could give before the weights were in memory
  /// - Throws: `ServerError` where not one text fits
  package init(_ config: ServerConfig, target: TargetModel, draft: DraftModel?, availableBytes: Int) throws {
    let size = CacheSize(target: target, draft: draft)
    bytes = config.cacheBytes ?? max(0, availableBytes - target.storedBytes) / 2
    let positions = target.shape.maxPositions
    if let wanted = config.context, wanted > positions {
      throw ServerError("--context \(wanted): the target has \(positions) positions; ask for fewer")
    }
    let whole = size.tokens(in: bytes / config.batch, limit: positions)
    context = config.context ?? max(whole, size.tokens(in: bytes, limit: min(positions, Self.defaultContext)))
    let each = size.bytes(tokens: max(context, 1))
    guard context > 0, each <= bytes else {
      throw ServerError(
        "a context of \(max(context, 1)) tokens takes \(Self.text(each)) and the KV caches may take "
          + "\(Self.text(bytes)): raise --cache-memory or lower --context")
    }
    let (texts, isTooMany) = (bytes / each).multipliedReportingOverflow(by: context)
    tokens = isTooMany ? .max : texts &+ size.tokens(in: bytes % each, limit: context)
    self.size = size
  }

  package var description: String {
    "context \(context) tokens; KV caches take up to \(Self.text(bytes)), which is \(tokens) tokens"
  }

  private static func text(_ bytes: Int) -> String {
    bytes < 10_000_000_000 ? "\(bytes / 1_000_000) MB" : String(format: "%.1f GB", Double(bytes) / 1e9)
  }
}
