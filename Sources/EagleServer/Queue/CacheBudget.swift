import EagleDecoding

/// The memory budget of the KV caches.
///
/// Before a sequence starts, it reserves the memory of its prompt and of all tokens that it may generate, so that no
/// running sequence runs out of memory. The rest is available to idle conversations (prefix caching).
struct CacheBudget {
  /// The maximum size of all caches together, in bytes.
  private let bytes: Int
  private let size: CacheSize
  private var reserved = 0

  init(_ limits: CacheLimits) { (bytes, size) = (limits.bytes, limits.size) }

  /// Whether a sequence of at most this many tokens can start, once all idle conversations are evicted.
  func admits(_ tokens: Int) -> Bool { size.bytes(tokens: tokens) <= left }

  /// The bytes that idle conversations may hold.
  var left: Int { bytes - reserved }

  mutating func reserve(_ tokens: Int) { reserved += size.bytes(tokens: tokens) }

  mutating func release(_ tokens: Int) { reserved -= size.bytes(tokens: tokens) }
}
