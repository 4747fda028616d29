import EagleModels
import EagleTensor

// R rows of a pass · V vocabulary.

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
///
/// `run` takes texts from a closure until there are no more. A server, whose texts come and go at any time, calls `begin`,
/// `advance` and `end` itself.
public final class BatchGenerator {
  /// Rows of a pass. Prompts wait where more would come together.
  static let mostRows = 1024

  private let target: TargetModel
  private let width: Int
  private let stopIDs: Set<Int32>
  private var slots: [Slot] = []

  /// - Parameters:
  ///   - target: whose texts these are
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
  ///     place, where rows that both have in common are not computed again
  ///   - passed: called after every pass
  /// - Throws: what the closures throw, and `DecodingError` for a text that the model cannot take
  public func run(
    next: () throws -> DecodingRequest?, finished: (DecodingRequest, [Int32]) throws -> DecodingRequest?,
    passed: () throws -> Void = {}
  ) throws {
    defer { slots = [] }
    var hasMore = true
    while true {
      while hasMore, let place = freePlace {
        guard let request = try next() else {
          hasMore = false
          break
        }
        try begin(request, place)
      }
      let busy = busy
      if busy.isEmpty { return }
      for slot in step(busy) where isDone(slot) {
        let (request, ids) = slot.end()
        if let more = try finished(request, ids) { try begin(more, slot) }
      }
      try passed()
    }
  }

  // MARK: one pass at a time

  /// Texts that run.
  public var count: Int { busy.count }

  /// Whether another text can begin.
  public var hasRoom: Bool { count < width }

  /// Begins a text where most rows of its prompt are in a cache already. There must be room.
  ///
  /// - Returns: how many rows are
  /// - Throws: `DecodingError` for a text that the model cannot take
  @discardableResult
  public func begin(_ request: DecodingRequest) throws -> Int {
    precondition(hasRoom, "a batch of \(width) is full")
    let slot = place(for: request.prompt)
    try begin(request, slot)
    return request.prompt.count - slot.pending.count
  }

  /// Goes on with what a session has read or written: the target's rows move here as they are. The session is not to be used again.
  ///
  /// - Parameters:
  ///   - request: its prompt is the session's prompt and text
  ///   - session: whose rows these are
  /// - Throws: `DecodingError` for a text that the model cannot take
  public func begin(_ request: DecodingRequest, takingOver session: DecodingSession) throws {
    precondition(hasRoom, "a batch of \(width) is full")
    let slot = place(for: request.prompt)
    slot.adopt(session.cache, session.cached)
    try begin(request, slot, continues: true)
  }

  /// One pass: a token for every text whose prompt has been read. A text that is done makes room.
  public func advance() -> [NewToken] {
    let busy = busy
    if busy.isEmpty { return [] }
    return step(busy).map { slot in
      let token = NewToken(id: slot.request!.id, token: slot.new.last!, isLast: isDone(slot))
      if token.isLast { _ = slot.end() }
      return token
    }
  }

  /// Ends a text before it is done.
  public func end(_ id: Int) {
    if let slot = busy.first(where: { $0.request!.id == id }) { _ = slot.end() }
  }

  /// What `advance` gave to one text.
  public struct NewToken: Sendable {
    /// Of the request.
    public let id: Int
    public let token: Int32
    public let isLast: Bool
  }

  // MARK: slots

  private var busy: [Slot] { slots.filter { $0.request != nil } }

  /// The slot without work whose cache begins like this prompt, or a new one.
  private func place(for prompt: [Int32]) -> Slot {
    let best = slots.filter { $0.request == nil }.max { $0.sharedRows(prompt) < $1.sharedRows(prompt) }
    if let best, slots.count == width || best.sharedRows(prompt) > 0 { return best }
    slots.append(Slot())
    return slots.last!
  }

  /// A slot without work, kept for the rows that the next text may share with its last one, or a new one.
  private var freePlace: Slot? {
    if let slot = slots.first(where: { $0.request == nil }) { return slot }
    guard slots.count < width else { return nil }
    slots.append(Slot())
    return slots.last
  }

  private func begin(_ request: DecodingRequest, _ slot: Slot, continues: Bool = false) throws {
    try target.check(request.prompt, DecodingOptions(maxNewTokens: request.maxNewTokens, stopIDs: stopIDs))
    slot.begin(request, continues: continues) { target.makeCache(capacity: $0) }
  }

  private func isDone(_ slot: Slot) -> Bool {
    stopIDs.contains(slot.new.last!) || slot.new.count >= slot.request!.maxNewTokens
  }

  /// A token for every slot whose prompt has run; returns these.
  private func step(_ busy: [Slot]) -> [Slot] {
    let (prompts, decoding) = (busy.filter(\.isReading), busy.filter { !$0.isReading })
    let precision = target.precision
    return (prompts.isEmpty ? [] : pass(prompts, precision.products))
      + (decoding.isEmpty ? [] : pass(decoding, precision.decodingProducts))
  }

  private func pass(_ busy: [Slot], _ products: Products) -> [Slot] {
    var (ids, segments, ended): ([Int32], [Segment], [Slot]) = ([], [], [])
    var lastRows: [Int32] = []
    // The shortest first: more texts begin sooner.
    for slot in busy.sorted(by: { $0.pending.count < $1.pending.count }) {
      let count = min(slot.pending.count, max(0, Self.mostRows - ids.count))
      if count == 0 { break }
      segments.append(Segment(rows: ids.count..<ids.count + count, cache: slot.cache))
      ids.append(contentsOf: slot.take(count))
      if slot.pending.isEmpty {
        ended.append(slot)
        lastRows.append(Int32(ids.count - 1))
      }
    }
    let states = target.forward(ids, segments: segments, captureLayers: [], products).lastHidden
    if !ended.isEmpty {
      choose(ended, target.logits(Rows.gather(states, lastRows), target.precision.decodingProducts))
    }
    return ended
  }

  /// - Parameter logits: [R, V], a row for each slot
  private func choose(_ slots: [Slot], _ logits: Tensor) {
    withExtendedLifetime(logits) {
      Parallel.forEachRange(slots.count, grain: 1, dynamic: true) { range in
        for row in range {
          slots[row].append(
            UnsafeMutableBufferPointer(start: logits.floats + row * logits.columns, count: logits.columns))
        }
      }
    }
  }
}

/// The place of one sequence in a batch. Its cache outlives the text.
private final class Slot: @unchecked Sendable {
  private(set) var request: DecodingRequest?
  private(set) var cache: KVCache?
  /// Ids whose rows are in the cache.
  private var cached: [Int32] = []
  /// Ids whose rows have not run.
  private(set) var pending: ArraySlice<Int32> = []
  /// Whether those are of a prompt, and not the newest token.
  private(set) var isReading = false
  private(set) var new: [Int32] = []
  private var sampler = Sampler(.greedy, prompt: [])

  /// - Parameter continues: whether the end of the prompt is the newest token of a text
  func begin(_ request: DecodingRequest, continues: Bool, makeCache: (Int) -> KVCache) {
    let needed = request.prompt.count + request.maxNewTokens
    if let cache, cache.capacity >= needed {
      let common = sharedRows(request.prompt)
      cache.truncate(to: common)
      cached.removeLast(cached.count - common)
    } else {
      // Room for other texts of about this length.
      cache = makeCache((needed + 511) / 512 * 512)
      cached = []
    }
    pending = request.prompt[cached.count...]
    isReading = !continues
    new = []
    sampler = Sampler(request.sampling, prompt: request.prompt)
    self.request = request
  }

  /// Takes a cache with the ids of its rows in place of its own.
  func adopt(_ cache: KVCache, _ cached: [Int32]) {
    self.cache = cache
    self.cached = cached
  }

  /// Rows that a prompt need not run. Its last row runs again: its logits are needed.
  func sharedRows(_ prompt: [Int32]) -> Int { zip(cached, prompt.dropLast()).prefix { $0 == $1 }.count }

  func end() -> (DecodingRequest, [Int32]) {
    defer { request = nil }
    return (request!, new)
  }

  /// The next ids to run.
  func take(_ count: Int) -> ArraySlice<Int32> {
    defer { pending = pending.dropFirst(count) }
    cached.append(contentsOf: pending.prefix(count))
    return pending.prefix(count)
  }

  /// Adds the token that the logits [V] give.
  func append(_ logits: UnsafeMutableBufferPointer<Float>) {
    let token = sampler.choose(logits, position: request!.prompt.count + new.count)
    sampler.append(token)
    new.append(token)
    pending = [token]
    isReading = false
  }
}
