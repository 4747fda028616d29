import EagleDecoding

/// The memory that KV caches may take.
///
/// A text reserves what its prompt and all tokens that it may write take before it begins, so that no text ever ends
/// for want of memory; what is left belongs to conversations that wait for their next turn.
struct CacheBudget {
  /// The most bytes of all caches together.
  private let bytes: Int
  private let size: CacheSize
  private var reserved = 0

  init(_ limits: CacheLimits) { (bytes, size) = (limits.bytes, limits.size) }

  /// Whether a text of at most so many tokens may begin, once all idle conversations are evicted.
  func admits(_ tokens: Int) -> Bool { size.bytes(tokens: tokens) <= left }

  /// The bytes that idle conversations may hold.
  var left: Int { bytes - reserved }

  mutating func reserve(_ tokens: Int) { reserved += size.bytes(tokens: tokens) }

  mutating func release(_ tokens: Int) { reserved -= size.bytes(tokens: tokens) }
}
