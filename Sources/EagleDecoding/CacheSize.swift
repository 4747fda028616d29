import EagleDraft
import EagleModels

/// The memory of a sequence's KV caches, the target's and the draft's, from the number of its tokens.
package struct CacheSize: Sendable, Equatable {
  private let layers: [KVCache.LayerShape]

  package init(target: TargetModel, draft: DraftModel?) {
    layers = target.cacheLayers + (draft?.shape.cacheLayers(target.cacheFormat) ?? [])
  }

  /// The most tokens of one sequence in a pass.
  package static let passTokens = max(DecodingSession.prefillChunk, DraftPlan.maxNodes + 1)

  /// The most bytes that the entries of a sequence of this many tokens take.
  package func bytes(tokens: Int) -> Int {
    layers.reduce(0) { $0 + $1.byteCount(tokens: tokens, pass: Self.passTokens) }
  }

  /// The longest sequence whose entries take at most `bytes`, up to `limit` tokens.
  package func tokens(in bytes: Int, limit: Int) -> Int {
    var (fits, tooMany) = (0, limit + 1)
    while fits + 1 < tooMany {
      let middle = (fits + tooMany) / 2
      if self.bytes(tokens: middle) <= bytes { fits = middle } else { tooMany = middle }
    }
    return fits
  }
}
