import EagleDecoding

/// The sessions of the last conversations, whose KV caches are kept for the next turn (prefix caching). The least
/// recently used one is evicted first.
final class Conversations {
  private let limit: Int
  /// The sessions, most recently used last.
  private var idle: [DecodingSession] = []

  init(limit: Int) {
    precondition(limit > 0, "\(limit) conversations")
    self.limit = limit
  }

  /// The tokens that the caches hold.
  var tokens: Int { idle.reduce(0) { $0 + $1.cachedTokens } }

  /// Removes and returns the session of the conversation that a prompt continues; nil for a prompt that continues none.
  func take(for prompt: [Int32]) -> DecodingSession? {
    CachedSequence.index(for: prompt, among: idle.map(\.sequence)).map { idle.remove(at: $0) }
  }

  /// Keeps a session for its next turn.
  func keep(_ session: DecodingSession) {
    guard session.cachedTokens > 0 else { return }
    session.releaseUnused()
    idle.append(session)
    if idle.count > limit { idle.removeFirst() }
  }

  /// Evicts conversations until the caches of the others take at most `limit` bytes.
  func evict(toBytes limit: Int) {
    while !idle.isEmpty, idle.reduce(0, { $0 + $1.cacheBytes }) > limit { idle.removeFirst() }
  }
}
