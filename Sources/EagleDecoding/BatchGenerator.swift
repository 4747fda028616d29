import EagleDraft
import EagleModels

/// A prompt to be continued, one of many.
package struct DecodingRequest: Sendable {
  /// The caller's name for the request, which is returned with its tokens.
  package var id: Int
  package var prompt: [Int32]
  package var sampling: SamplingOptions
  package var maxNewTokens: Int

  package init(id: Int, prompt: [Int32], sampling: SamplingOptions = .greedy, maxNewTokens: Int) {
    self.id = id
    self.prompt = prompt
    self.sampling = sampling
    self.maxNewTokens = maxNewTokens
  }
}

/// Plain decoding of many prompts by continuous batching: one pass over the weights yields a token for each of several
/// sequences. As soon as a sequence ends, the next one takes its slot.
///
/// Decoding passes are batch-invariant, as in sessions: after its prompt a sequence does not depend on the others in
/// the batch. Prompts share prefill passes, too, which is fastest for many short ones.
/// Prompts share passes, too, which is fastest for many short ones.
package final class BatchGenerator {
  /// The most tokens of a prefill pass. Further prompts wait for the next one.
  static let maxPrefillTokens = 1024

  private let target: TargetModel
  private let width: Int
  private let stopIDs: Set<Int32>
  private var slots: [Slot] = []

  /// A session, which keeps its KV cache for the next request, and its state.
  private final class Slot {
    enum State {
      case idle
      case busy(DecodingRequest)
    }

    let session: DecodingSession
    var state = State.idle

    init(_ session: DecodingSession) { self.session = session }

    var isIdle: Bool { if case .idle = state { true } else { false } }

    /// The request whose sequence has ended or failed.
    var ended: DecodingRequest? {
      guard case .busy(let request) = state, !session.isBusy else { return nil }
      return request
    }
  }

  /// - Parameters:
  ///   - target: the model that generates
  ///   - width: the number of slots
  ///   - stopIDs: the first of these ends a sequence; it is among the new tokens
  package init(target: TargetModel, width: Int, stopIDs: Set<Int32>) {
    precondition(width > 0, "a batch of \(width)")
    self.target = target
    self.width = width
    self.stopIDs = stopIDs
  }

  /// Continues prompts until there are no more of them.
  ///
  /// - Parameters:
  ///   - next: the next request, nil when there are no more
  ///   - finished: gets each request with its new ids, in the order in which they end; the request that it returns
  ///     continues in the same slot and reuses its cached prefix
  ///   - passed: called after every step
  ///   - failed: gets a request whose logits are not finite; when it returns, the others continue
  /// - Throws: what the closures throw, and `GenerationError` for a prompt that the model cannot take, or for logits
  ///   that are not finite
  package func run(
    next: () throws -> DecodingRequest?, finished: (DecodingRequest, [Int32]) throws -> DecodingRequest?,
    passed: () throws -> Void = {}, failed: (DecodingRequest, any Error) throws -> Void = { throw $1 }
  ) throws {
    defer { slots = [] }
    var hasMore = true
    while true {
      if hasMore { hasMore = try fillSlots(next) }
      let sessions = slots.filter { !$0.isIdle }.map(\.session)
      if sessions.isEmpty { return }
      step(sessions)
      for slot in slots { try complete(slot, finished: finished, failed: failed) }
      try passed()
    }
  }

  /// Begins requests in free slots. Returns false when there are no more requests.
  private func fillSlots(_ next: () throws -> DecodingRequest?) throws -> Bool {
    while let slot = freeSlot() {
      guard let request = try next() else { return false }
      try begin(request, slot)
    }
    return true
  }

  /// Frees a slot whose sequence has ended or failed, for the request that `finished` returns or for any other.
  private func complete(
    _ slot: Slot, finished: (DecodingRequest, [Int32]) throws -> DecodingRequest?,
    failed: (DecodingRequest, any Error) throws -> Void
  ) throws {
    guard let request = slot.ended else { return }
    slot.state = .idle
    switch Result(catching: slot.session.end) {
    case .success(let generation):
      if let more = try finished(request, generation.ids) { try begin(more, slot) }
    case .failure(let error): try failed(request, error)
    }
  }

  /// One prefill pass where prompts wait, and one pass that yields a token for each of the other sequences.
  private func step(_ sessions: [DecodingSession]) {
    let decoding = sessions.filter(\.isDecoding)
    var tokens = 0
    // The shortest first: more sequences begin sooner.
    let prefilling = sessions.filter(\.isPrefilling).sorted { $0.nextChunk.count < $1.nextChunk.count }.prefix {
      tokens += $0.nextChunk.count
      return tokens <= max(Self.maxPrefillTokens, $0.nextChunk.count)
    }
    DecodingSession.prefill(Array(prefilling))
    DecodingSession.decode(decoding)
    for session in sessions { session.takeTokens() }
  }

  /// An idle slot, whose cached prefix the next prompt may share, or a new one; nil if all slots are busy.
  private func freeSlot() -> Slot? {
    if let slot = slots.first(where: \.isIdle) { return slot }
    guard slots.count < width else { return nil }
    let slot = Slot(DecodingSession(target: target))
    slots.append(slot)
    return slot
  }

  private func begin(_ request: DecodingRequest, _ slot: Slot) throws {
    try slot.session.begin(
      request.prompt,
      DecodingOptions(maxNewTokens: request.maxNewTokens, stopIDs: stopIDs, plan: .chain(0), sampling: request.sampling)
    )
    slot.state = .busy(request)
  }
}
