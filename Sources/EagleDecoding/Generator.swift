import EagleModels
import EagleTensor

/// A generated text and what it took.
public struct Generation: Sendable {
  public let ids: [Int32]
  public let statistics: DecodingStatistics
}

/// Greedy decoding of one sequence at a time: plain, or speculative with a draft chain. Both give the same ids.
public final class Generator {
  private let target: TargetModel
  private let draft: DraftModel?
  private let clock = ContinuousClock()

  public init(target: TargetModel, draft: DraftModel? = nil) {
    self.target = target
    self.draft = draft
  }

  /// Continues `prompt` until a stop id or the limit.
  ///
  /// - Parameter onTokens: gets the new ids as they are found; false ends the generation
  /// - Throws: `DecodingError` for an empty prompt, an id outside the vocabulary, or more positions than the target has
  public func generate(
    _ prompt: [Int32], _ options: DecodingOptions, onTokens: @escaping ([Int32]) -> Bool = { _ in true }
  ) throws -> Generation {
    try target.check(prompt, options)
    var sequence = Sequence(prompt: prompt, options: options, onTokens: onTokens)
    let cache = target.makeCache(capacity: prompt.count + options.maxNewTokens + options.draftLength + 1)
    let start = clock.now
    let states = target.forward(
      prompt, segments: [Segment(rows: 0..<prompt.count, cache: cache)], captureLayers: layers, options.promptProducts)
    let last = states.lastHidden.slice(prompt.count - 1..<prompt.count)
    sequence.append(target.bestTokens(last))
    let decoding = clock.now
    decode(prompt, states, cache, &sequence)
    sequence.statistics.promptSeconds = start.duration(to: decoding).inSeconds
    sequence.statistics.decodeSeconds = decoding.duration(to: clock.now).inSeconds
    return Generation(ids: sequence.ids, statistics: sequence.statistics)
  }

  /// Rounds of proposing and verifying until the sequence is done.
  private func decode(_ prompt: [Int32], _ states: TargetStates, _ cache: KVCache, _ sequence: inout Sequence) {
    let options = sequence.options
    let chain = draft.map { DraftChain(draft: $0, embedding: target.embedding, capacity: cache.capacity) }
    // States whose rows the draft has not seen, the token after each of them, and how to run them.
    var (states, nextTokens, products) = (states, Array(prompt.dropFirst()), options.promptProducts)
    while !sequence.isDone {
      nextTokens.append(sequence.lastToken)
      let length = min(options.draftLength, options.maxNewTokens - sequence.ids.count - 1)
      let proposal =
        chain?.propose(after: states.auxHidden!, nextTokens: nextTokens, length: length, products) ?? []
      let verified = verify(proposal, after: sequence.lastToken, cache)
      if chain != nil { sequence.statistics.countRound(proposed: proposal.count, accepted: verified.tokens.count - 1) }
      sequence.append(verified.tokens)
      (states, nextTokens, products) = (verified.states, verified.tokens.dropLast(), .invariant)
    }
  }

  private var layers: [Int] { draft?.shape.captureLayers ?? [] }

  /// One target pass over the newest token and the proposals. Returns the agreeing ones and the target's own next token,
  /// and the states of the kept rows; the cache keeps no others.
  private func verify(
    _ proposal: [Int32], after token: Int32, _ cache: KVCache
  ) -> (tokens: [Int32], states: TargetStates) {
    let rows = [token] + proposal
    let states = target.forward(
      rows, segments: [Segment(rows: 0..<rows.count, cache: cache)], captureLayers: layers, .invariant)
    let best = target.bestTokens(states.lastHidden)
    let kept = zip(proposal, best).prefix { $0 == $1 }.count
    cache.truncate(to: cache.count - (proposal.count - kept))
    let keptRows = 0..<kept + 1
    return (
      Array(proposal.prefix(kept)) + [best[kept]],
      TargetStates(auxHidden: states.auxHidden?.slice(keptRows), lastHidden: states.lastHidden.slice(keptRows))
    )
  }
}

/// The new ids of one generation.
private struct Sequence {
  let options: DecodingOptions
  let onTokens: ([Int32]) -> Bool
  private(set) var ids: [Int32] = []
  private(set) var isDone: Bool
  private var lastKnown: Int32
  var statistics = DecodingStatistics()

  init(prompt: [Int32], options: DecodingOptions, onTokens: @escaping ([Int32]) -> Bool) {
    self.options = options
    self.onTokens = onTokens
    isDone = options.maxNewTokens <= 0
    lastKnown = prompt.last!
  }

  var lastToken: Int32 { lastKnown }

  /// Adds what one pass gave, up to the limit and the first stop id.
  mutating func append(_ tokens: [Int32]) {
    let room = tokens.prefix(options.maxNewTokens - ids.count)
    let end = room.firstIndex { options.stopIDs.contains($0) }
    let kept = Array(room.prefix((end ?? room.count - 1) + 1))
    if !ids.isEmpty {
      statistics.targetPasses += 1
      statistics.decodedTokens += kept.count
    }
    ids += kept
    statistics.newTokens = ids.count
    lastKnown = ids.last ?? lastKnown
    isDone = end != nil || ids.count >= options.maxNewTokens
    if !kept.isEmpty && !onTokens(kept) { isDone = true }
  }
}
