import EagleDecoding

/// Sessions of the last conversations, which wait for their next turn: that finds its tokens in their caches.
final class Conversations {
  private let limit: Int
  /// Most recently used last.
  private var idle: [DecodingSession] = []

  init(limit: Int) {
    precondition(limit > 0, "\(limit) conversations")
    self.limit = limit
  }

  /// Tokens that their caches hold.
  var tokens: Int { idle.reduce(0) { $0 + $1.cachedTokens } }

  /// Takes out the session of the conversation that a prompt continues; nil for a prompt that begins another.
  func take(for prompt: [Int32]) -> DecodingSession? {
    CachedSequence.index(for: prompt, among: idle.map(\.sequence)).map { idle.remove(at: $0) }
  }

  /// Keeps a session for its next turn, in place of the one that was not used for the longest time.
  func keep(_ session: DecodingSession) {
    guard session.cachedTokens > 0 else { return }
    session.releaseUnused()
    idle.append(session)
    if idle.count > limit { idle.removeFirst() }
  }

  /// Forgets conversations, the one first that was not used for the longest time, until the others hold so many tokens at
  /// most.
  func shrink(to most: Int) { while !idle.isEmpty, tokens > most { idle.removeFirst() } }
}
