import EagleDecoding
import EagleDraft
import EagleModels
import Foundation

/// The limits of a server's KV caches: the context length of each sequence, and the memory of all caches together.
package struct CacheLimits: Sendable, Equatable {
  /// The maximum number of tokens of one sequence, including its prompt.
  package let context: Int
  /// The maximum size of all caches together, in bytes.
  package let bytes: Int
  /// The same limit in tokens, for sequences as long as the context.
  package let tokens: Int
  /// The cache size of a sequence.
  let size: CacheSize

  /// The context length if none is set, even if a full batch of such sequences does not fit into memory.
  private static let defaultContext = 8192

  /// - Parameters:
  ///   - config: the context length and bytes that the user has set, and the batch size
  ///   - target: the model that limits the context length and whose layers need the caches
  ///   - draft: the head, which has a cache of its own
  ///   - availableBytes: memory that was available before the weights were loaded
  /// - Throws: `ServerError` if the cache of a single sequence does not fit
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
