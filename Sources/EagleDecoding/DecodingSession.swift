import EagleModels
import EagleTensor

// R rows · V vocabulary.

/// Why a text ended.
public enum FinishReason: String, Sendable, Codable {
  /// A stop id.
  case stop
  /// The limit of new tokens.
  case length
  /// The caller asked for no more.
  case caller
}

/// A generated text and what it took.
public struct Generation: Sendable {
  public let ids: [Int32]
  /// The target's passes that gave them, in order; the first is the prompt's.
  public let passes: [Pass]
  public let finish: FinishReason
  public let statistics: DecodingStatistics

  /// What one pass gave to the text.
  public struct Pass: Sendable, Equatable {
    public let tokens: Int
    /// How many of them, the first ones, a draft had proposed.
    public let accepted: Int

    public init(tokens: Int, accepted: Int) { (self.tokens, self.accepted) = (tokens, accepted) }
  }
}

/// Decodes one conversation: plainly, or speculatively with a draft. Caches stay between calls, so a prompt that begins with
/// what was said before costs only its new part.
///
/// Greedy texts are the same with and without a draft, token for token: after the prompt every pass is batch-invariant, so
/// the logits that check a proposal are, bit for bit, those that plain decoding would have seen. With a temperature a tree
/// keeps that property, since its tokens are drawn from the target's distribution either way; a chain draws from the draft
/// and corrects (speculative sampling), which keeps the distribution and gives another text.
public final class DecodingSession {
  private let target: TargetModel
  /// Of every pass after the prompt's.
  private var products: Products { target.precision.decodingProducts }
  private let drafter: (any Drafter)?
  let cache: KVCache
  private let clock = ContinuousClock()
  /// The tokens whose keys are in the cache.
  private(set) var cached: [Int32] = []
  /// Sees the target's logits [V] of each position that gives a token, before they are used.
  package var onLogits: ((UnsafeMutableBufferPointer<Float>) -> Void)?

  /// Rows of one pass over a prompt: more would be no faster and take more memory.
  private static let promptRows = 512

  public convenience init(target: TargetModel, draft: DraftModel? = nil) {
    let capacity = Self.capacity(target)
    self.init(
      target: target,
      drafter: draft.map { EagleDrafter(draft: $0, target: target, capacity: capacity) })
  }

  package init(target: TargetModel, drafter: (any Drafter)?) {
    self.target = target
    self.drafter = drafter
    cache = target.makeCache(capacity: Self.capacity(target))
  }

  /// The whole context, and the rows of a round that are not kept. Addresses cost nothing until they are written to.
  private static func capacity(_ target: TargetModel) -> Int { target.shape.maxPositions + DraftPlan.mostNodes + 1 }

  /// Tokens that the cache holds.
  public var cachedTokens: Int { cached.count }

  /// How many tokens at the beginning of a prompt the cache holds.
  public func sharedTokens(with prompt: [Int32]) -> Int { zip(cached, prompt).prefix { $0 == $1 }.count }

  /// Forgets the conversation.
  public func reset() { forget(from: 0) }

  /// Continues `prompt`, the whole conversation so far, until a stop id or the limit.
  ///
  /// - Parameters:
  ///   - prompt: all ids; those that the cache has are not computed again
  ///   - options: limit, stop ids, drafting, sampling
  ///   - onToken: gets each new id as it is found; false ends the text with it
  /// - Throws: `DecodingError` for an empty prompt, an id outside the vocabulary, options without a meaning, or more
  ///   positions than the target has
  public func generate(
    _ prompt: [Int32], _ options: DecodingOptions, onToken: (Int32) -> Bool = { _ in true }
  ) throws -> Generation {
    try generate(prompt, options, isWanted: { true }, onToken: { token, _ in onToken(token) })
  }

  /// The same for a caller who may lose interest while a long prompt is read, or wants to know where tokens come from.
  ///
  /// - Parameters:
  ///   - prompt: all ids; those that the cache has are not computed again
  ///   - options: limit, stop ids, drafting, sampling
  ///   - isWanted: asked before each pass over the prompt; false ends the text before it begins, and what was read stays cached
  ///   - onToken: gets each new id and whether a draft had proposed it; false ends the text with it
  public func generate(
    _ prompt: [Int32], _ options: DecodingOptions, isWanted: () -> Bool, onToken: (Int32, _ isDrafted: Bool) -> Bool
  ) throws -> Generation {
    try target.check(prompt, options)
    var text = Text(prompt: prompt, options: options)
    guard options.maxNewTokens > 0 else {
      return Generation(ids: [], passes: [], finish: .length, statistics: text.statistics)
    }
    let start = clock.now
    let read = readPrompt(&text, isWanted)
    let decoding = clock.now
    text.statistics.promptSeconds = start.duration(to: decoding).inSeconds
    guard var pending = read else {
      return Generation(ids: [], passes: [], finish: .caller, statistics: text.statistics)
    }
    text.append([firstToken(&pending, &text)], drafted: 0, onToken)
    var budget = options.plan.costs.map(DraftBudget.init)
    while text.finish == nil { pending = round(pending, &text, &budget, onToken) }
    close(pending, text)
    text.statistics.decodeSeconds = decoding.duration(to: clock.now).inSeconds
    return Generation(ids: text.ids, passes: text.passes, finish: text.finish!, statistics: text.statistics)
  }

  // MARK: prompt

  /// States of the newest rows, which the draft has not seen.
  private struct Pending {
    var states: TargetStates
    var products: Products
  }

  /// Runs the part of the prompt that the cache does not hold. Returns the states of its last row, nil when it is not wanted.
  ///
  /// The last cached row is run again: the draft needs its states beside the token that follows it now.
  private func readPrompt(_ text: inout Text, _ isWanted: () -> Bool) -> Pending? {
    let prompt = text.prompt
    let reused = max(0, sharedTokens(with: prompt) - 1)
    forget(from: reused)
    (text.statistics.promptTokens, text.statistics.cachedTokens) = (prompt.count, reused)
    let products = text.options.promptProducts ?? target.precision.products
    var last: TargetStates?
    for first in stride(from: reused, to: prompt.count, by: Self.promptRows) {
      guard isWanted() else {
        cached = Array(prompt[..<first])
        return nil
      }
      let range = first..<min(first + Self.promptRows, prompt.count)
      let states = target.forward(
        Array(prompt[range]), segments: [Segment(rows: 0..<range.count, cache: cache)], captureLayers: layers, products)
      let isLast = range.upperBound == prompt.count
      let known = isLast ? range.count - 1 : range.count
      if let drafter, known > 0 {
        drafter.extend(
          states.auxHidden!.slice(0..<known), nextTokens: Array(prompt[first + 1..<first + 1 + known]), products)
      }
      last = states.rows(range.count - 1..<range.count)
    }
    cached = prompt
    return Pending(states: last!, products: products)
  }

  private func firstToken(_ pending: inout Pending, _ text: inout Text) -> Int32 {
    let logits = target.logits(pending.states.lastHidden, products)
    return withExtendedLifetime(logits) { text.sampler.choose(row(0, of: logits), position: text.prompt.count) }
  }

  // MARK: rounds

  /// Proposes, checks and keeps. Returns the states of the kept rows.
  private func round(
    _ pending: Pending, _ text: inout Text, _ budget: inout DraftBudget?, _ onToken: (Int32, Bool) -> Bool
  ) -> Pending {
    let first = cache.count  // also the position of the newest token
    let started = clock.now
    let proposal = propose(pending, text, budget)
    let drafted = clock.now
    let rows = 0..<proposal.rows.count
    let states = target.forward(
      proposal.rows, segments: [Segment(rows: rows, cache: cache, tree: proposal.tree)], captureLayers: layers,
      products)
    let logits = target.logits(states.lastHidden, products)
    let checked = clock.now
    let verdict = withExtendedLifetime(logits) {
      Verdict.of(proposal, position: first + 1, sampler: text.sampler, logits: { self.row($0, of: logits) })
    }
    text.statistics.draftSeconds += started.duration(to: drafted).inSeconds
    text.statistics.targetSeconds += drafted.duration(to: checked).inSeconds
    text.statistics.choiceSeconds += checked.duration(to: clock.now).inSeconds
    text.statistics.targetPasses += 1
    text.statistics.targetRows += rows.count
    if drafter != nil {
      text.statistics.countRound(proposal, accepted: verdict.path.count - 1)
      budget?.count(draftPasses: proposal.passes, rows: rows.count, kept: verdict.path.count - 1)
    }
    let kept = text.append(verdict.tokens, drafted: verdict.path.count - 1, onToken)
    let path = Array(verdict.path.prefix(kept))
    cache.keep(path, from: first)
    cached += path.map { proposal.rows[$0] }
    return Pending(states: states.rows(path), products: products)
  }

  private func propose(_ pending: Pending, _ text: Text, _ budget: DraftBudget?) -> Proposal {
    guard let drafter else { return Proposal(after: text.newest) }
    inform(drafter, pending, text)
    var plan = text.options.plan
    let room = text.options.maxNewTokens - text.ids.count - 1  // the target adds one token of its own
    plan.depth = min(plan.depth, room)
    if plan.isChain { plan.nodes = plan.depth }
    return drafter.propose(after: text.newest, plan, text.sampler, budget)
  }

  /// Gives the draft the pending states, each beside the token after it.
  private func inform(_ drafter: any Drafter, _ pending: Pending, _ text: Text) {
    let first = drafter.rowCount
    drafter.extend(pending.states.auxHidden!, nextTokens: text.tokens(first + 1...cache.count), pending.products)
  }

  /// The last token has no row yet; the draft gets what the target has, so that the next prompt finds both alike.
  private func close(_ pending: Pending, _ text: Text) {
    if let drafter, drafter.rowCount < cache.count { inform(drafter, pending, text) }
  }

  private func forget(from row: Int) {
    cache.truncate(to: row)
    if let drafter { drafter.truncate(to: min(row, drafter.rowCount)) }
    cached.removeSubrange(row...)
  }

  private var layers: [Int] { drafter?.captureLayers ?? [] }

  private func row(_ index: Int, of logits: Tensor) -> UnsafeMutableBufferPointer<Float> {
    let row = UnsafeMutableBufferPointer(start: logits.floats + index * logits.columns, count: logits.columns)
    onLogits?(row)
    return row
  }
}

/// The text of one generation.
private struct Text {
  let prompt: [Int32]
  let options: DecodingOptions
  private(set) var ids: [Int32] = []
  private(set) var passes: [Generation.Pass] = []
  private(set) var finish: FinishReason?
  var sampler: Sampler
  var statistics = DecodingStatistics()

  init(prompt: [Int32], options: DecodingOptions) {
    self.prompt = prompt
    self.options = options
    sampler = Sampler(options.sampling, prompt: prompt)
  }

  var newest: Int32 { ids.last! }

  /// Tokens at these positions of prompt and text together.
  func tokens(_ positions: ClosedRange<Int>) -> [Int32] {
    positions.map { $0 < prompt.count ? prompt[$0] : ids[$0 - prompt.count] }
  }

  /// Adds what one pass gave, one token after the other until the text ends. Returns how many were added.
  ///
  /// - Parameter drafted: how many of them, the first ones, a draft had proposed
  @discardableResult
  mutating func append(_ tokens: [Int32], drafted: Int, _ onToken: (Int32, Bool) -> Bool) -> Int {
    let isFirst = ids.isEmpty
    var added = 0
    for token in tokens where finish == nil {
      ids.append(token)
      sampler.append(token)
      added += 1
      if options.stopIDs.contains(token) {
        finish = .stop
      } else if ids.count >= options.maxNewTokens {
        finish = .length
      }
      if !onToken(token, added <= drafted) { finish = finish ?? .caller }
    }
    passes.append(.init(tokens: added, accepted: min(added, drafted)))
    statistics.newTokens = ids.count
    if !isFirst { statistics.decodedTokens += added }
    return added
  }
}

extension TargetStates {
  /// Some consecutive rows.
  func rows(_ range: Range<Int>) -> TargetStates {
    TargetStates(auxHidden: auxHidden?.slice(range), lastHidden: lastHidden.slice(range))
  }

  /// Some rows, in increasing order.
  func rows(_ places: [Int]) -> TargetStates {
    if places == Array(0..<places.count) { return rows(0..<places.count) }
    let indices = places.map(Int32.init)
    return TargetStates(
      auxHidden: auxHidden.map { Rows.select($0, indices) }, lastHidden: Rows.select(lastHidden, indices))
  }
}

extension TargetModel {
  /// - Throws: `DecodingError` for an empty prompt, an id outside the vocabulary, options without a meaning, or more
  ///   positions than there are
  func check(_ prompt: [Int32], _ options: DecodingOptions) throws {
    guard !prompt.isEmpty else { throw DecodingError("the prompt is empty: give at least one token") }
    if let odd = prompt.first(where: { $0 < 0 || $0 >= shape.vocabularySize }) {
      throw DecodingError("token id \(odd) is outside the target's vocabulary of \(shape.vocabularySize)")
    }
    let positions = prompt.count + options.maxNewTokens
    guard positions <= shape.maxPositions else {
      throw DecodingError(
        "a prompt of \(prompt.count) tokens and \(options.maxNewTokens) new ones need \(positions) positions, and the "
          + "target has \(shape.maxPositions): shorten the prompt or ask for fewer tokens")
    }
    try options.plan.validate()
    try options.sampling.validate()
  }
}
