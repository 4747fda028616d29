/// The memory that KV caches may take, in tokens.
///
/// A text reserves its prompt and all tokens that it may write before it begins, so that no text ever ends for want of
/// memory; what is left belongs to conversations that wait for their next turn.
struct CacheBudget {
  /// The most tokens of all caches together.
  let tokens: Int
  private(set) var reserved = 0

  init(tokens: Int) { self.tokens = tokens }

  /// Whether a text may begin, once all idle conversations are evicted.
  func admits(_ tokens: Int) -> Bool { tokens <= self.tokens - reserved }

  /// The tokens that idle conversations may hold.
  var left: Int { tokens - reserved }

  mutating func reserve(_ tokens: Int) { reserved += tokens }

  mutating func release(_ tokens: Int) { reserved -= tokens }
}
