import EagleDecoding
import EagleModels

/// Sessions of the last conversations. The next turn of one finds its rows in their caches.
final class Conversations {
  private let target: TargetModel
  private let draft: DraftModel?
  private let limit: Int
  /// Most recently used last.
  private var sessions: [DecodingSession] = []

  init(target: TargetModel, draft: DraftModel?, limit: Int) {
    precondition(limit > 0, "\(limit) conversations")
    (self.target, self.draft, self.limit) = (target, draft, limit)
  }

  /// The session of the conversation that a prompt goes on with; a new one, or the one that was not used for the longest time,
  /// for a prompt that begins another.
  func session(for prompt: [Int32]) -> DecodingSession {
    let session: DecodingSession
    if let place = place(for: prompt) {
      session = sessions.remove(at: place)
    } else {
      session = DecodingSession(target: target, draft: draft)
    }
    sessions.append(session)
    return session
  }

  /// Forgets a session whose rows have gone elsewhere.
  func remove(_ session: DecodingSession) { sessions.removeAll { $0 === session } }

  /// A prompt takes up a conversation when that saves more rows than it loses, or when the prompt is its beginning: the answer is
  /// asked for again. All prompts share the beginning of the template, and no conversation should lose its rows for that.
  private func place(for prompt: [Int32]) -> Int? {
    let shared = sessions.map { $0.sharedTokens(with: prompt) }
    if let best = shared.indices.max(by: { shared[$0] < shared[$1] }),
      shared[best] == prompt.count || 2 * shared[best] > sessions[best].cachedTokens
    {
      return best
    }
    return sessions.count == limit ? 0 : nil
  }
}
