import EagleModels

/// A text to be continued, one of many.
public struct DecodingRequest: Sendable {
  /// Comes back with the answer.
  public var id: Int
  public var prompt: [Int32]
  public var sampling: SamplingOptions
  public var maxNewTokens: Int

  public init(id: Int, prompt: [Int32], sampling: SamplingOptions = .greedy, maxNewTokens: Int) {
    self.id = id
    self.prompt = prompt
    self.sampling = sampling
    self.maxNewTokens = maxNewTokens
  }
}

/// Plain decoding of many texts, several at a time: one pass over the weights gives a token to each. As soon as a text ends,
/// the next takes its place.
///
/// They decode in batch-invariant passes, as sessions do: behind its prompt a text does not depend on those beside it.
/// Prompts share passes, too, which is fastest for many short ones.
public final class BatchGenerator {
  /// Rows of a pass over prompts. They wait where more would come together.
  static let mostRows = 1024

  private let target: TargetModel
  private let width: Int
  private let stopIDs: Set<Int32>
  private var slots: [Slot] = []

  /// A session, and the request that it answers.
  private final class Slot {
    let session: DecodingSession
    var request: DecodingRequest?

    init(_ session: DecodingSession) { self.session = session }
  }

  /// - Parameters:
  ///   - target: who writes
  ///   - width: sequences that run together
  ///   - stopIDs: the first of these ends a text; it is among the new tokens
  public init(target: TargetModel, width: Int, stopIDs: Set<Int32>) {
    precondition(width > 0, "a batch of \(width)")
    self.target = target
    self.width = width
    self.stopIDs = stopIDs
  }

  /// Continues texts until there are no more of them.
  ///
  /// - Parameters:
  ///   - next: the next text to begin, nil when there are no more
  ///   - finished: gets each text with its new ids, in the order in which they end; what it returns goes on in the same
  ///     slot, where tokens that both have in common are not computed again
  ///   - passed: called after every pass
  ///   - failed: gets a text whose logits are not finite; when it returns, the others go on
  /// - Throws: what the closures throw, and `GenerationError` for a text that the model cannot take, or for logits that are
  ///   not finite
  public func run(
    next: () throws -> DecodingRequest?, finished: (DecodingRequest, [Int32]) throws -> DecodingRequest?,
    passed: () throws -> Void = {}, failed: (DecodingRequest, any Error) throws -> Void = { throw $1 }
  ) throws {
    defer { slots = [] }
    var hasMore = true
    while true {
      while hasMore, let slot = freeSlot() {
        guard let request = try next() else {
          hasMore = false
          break
        }
        try begin(request, slot)
      }
      let busy = slots.filter { $0.request != nil }
      if busy.isEmpty { return }
      step(busy.map(\.session))
      for slot in busy where !slot.session.isBusy {
        let request = slot.request!
        slot.request = nil
        switch Result(catching: slot.session.end) {
        case .success(let generation):
          if let more = try finished(request, generation.ids) { try begin(more, slot) }
        case .failure(let error): try failed(request, error)
        }
      }
      try passed()
    }
  }

  /// One pass over prompts, where some wait, and one that gives a token to each of the others.
  private func step(_ sessions: [DecodingSession]) {
    let decoding = sessions.filter(\.isDecoding)
    var rows = 0
    // The shortest first: more texts begin sooner.
    let reading = sessions.filter(\.isReading).sorted { $0.promptRows.count < $1.promptRows.count }.prefix {
      rows += $0.promptRows.count
      return rows <= max(Self.mostRows, $0.promptRows.count)
    }
    DecodingSession.readPrompts(Array(reading)) { _, _ in .proceed }
    DecodingSession.advance(decoding) { _, _ in .proceed }
  }

  /// A slot without work, kept for the tokens that the next text may share with its last one, or a new one.
  private func freeSlot() -> Slot? {
    if let slot = slots.first(where: { $0.request == nil }) { return slot }
    guard slots.count < width else { return nil }
    slots.append(Slot(DecodingSession(target: target)))
    return slots.last
  }

  private func begin(_ request: DecodingRequest, _ slot: Slot) throws {
    try slot.session.begin(
      request.prompt,
      DecodingOptions(
        maxNewTokens: request.maxNewTokens, stopIDs: stopIDs, plan: .chain(0), sampling: request.sampling))
    slot.request = request
  }
}
