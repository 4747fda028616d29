import EagleDraft
import EagleModels

/// A sequence that is decoded plainly, or speculatively with a draft. Its KV caches stay between generations, so a
/// prompt that begins with an earlier prompt and its answer costs only its new part. Reference semantics.
///
/// From `Examples/GenerateText`, which also turns a question into the prompt:
/// ```swift
/// let session = DecodingSession(target: model.target, draft: draft)
/// let tokens = try session.tokens(prompt, options)
/// var text = StreamingDetokenizer(model.tokenizer)
/// while let token = try tokens.next() { print(text.append(token.id), terminator: "") }
/// print(text.finish())
/// print("acceptance length", try tokens.finish().statistics.acceptanceLength)
/// ```
///
/// `generate` does the same with a closure. `begin`, `prefill`, `decode` and `takeTokens` run one step each, for
/// several sessions together: that is how a server batches.
///
/// Greedy results are the same with and without a draft, alone and in a batch, token for token: after the prompt every
/// pass is batch-invariant, so the logits that verify a proposal are, bit for bit, those of plain decoding, and a
/// prompt is divided into chunks at fixed positions. With a temperature a tree keeps that property, since its tokens
/// are sampled from the target's distribution either way; a chain samples from the draft and corrects (speculative
/// sampling), which keeps the distribution but not the tokens.
public final class DecodingSession {
  let target: TargetModel
  private let caches: SequenceCaches
  private var active: ActiveGeneration?
  /// A function that sees the target's logits [V] of each position that yields a token, before they are used.
  package var onLogits: ((UnsafeMutableBufferPointer<Float>) -> Void)?

  /// The positions of a prompt that one pass computes; chunks begin at multiples of it. So a prompt is divided into the
  /// same passes whatever else is in the batch, and its states are the same bits unless other prompts share these
  /// passes. Other sequences wait for one chunk at most.
  package static let prefillChunk = 192

  /// Creates a session with empty KV caches.
  ///
  /// - Parameters:
  ///   - target: the model that generates
  ///   - draft: its draft head; nil decodes plainly
  ///   - context: the most tokens of prompt and answer together; nil takes all positions of the target
  public convenience init(target: TargetModel, draft: DraftModel? = nil, context: Int? = nil) {
    let capacity = Self.capacity(target, context)
    self.init(
      target: target, drafter: draft.map { $0.makeDrafter(target: target, capacity: capacity) },
      context: context)
  }

  package init(target: TargetModel, drafter: (any Drafter)?, context: Int? = nil) {
    self.target = target
    caches = SequenceCaches(target: target, drafter: drafter, capacity: Self.capacity(target, context))
  }

  /// The entries of the context, and those of a round that are not kept. Addresses and memory are taken as tokens come.
  private static func capacity(_ target: TargetModel, _ context: Int?) -> Int {
    min(context ?? target.shape.maxPositions, target.shape.maxPositions) + DraftPlan.maxNodes + 1
  }

  /// The tokens whose entries are cached.
  package var sequence: CachedSequence { caches.sequence }

  /// The number of tokens whose entries are cached.
  package var cachedTokens: Int { caches.count }

  /// The bytes of memory that the KV caches take.
  package var cacheBytes: Int { caches.byteCount }

  /// The number of leading tokens of a prompt whose entries are cached.
  package func commonPrefix(with prompt: [Int32]) -> Int { sequence.commonPrefix(with: prompt) }

  /// Drops the sequence, and returns the memory of its KV caches to the system.
  public func reset() {
    precondition(active == nil, "a session is reset while it writes")
    caches.truncate(to: 0)
    releaseUnused()
  }

  /// Returns memory of the caches that holds no entry to the system.
  package func releaseUnused() { caches.releaseUnused() }

  // MARK: one generation

  /// The tokens that continue `prompt`, the whole conversation so far, until a stop id or the limit.
  ///
  /// - Parameters:
  ///   - prompt: all ids; entries that the caches have are not computed again
  ///   - options: limit, stop ids, drafting, sampling
  /// - Throws: `GenerationError` for an empty prompt, an id outside the vocabulary, options without a meaning, or more
  ///   positions than the target has
  public func tokens(_ prompt: [Int32], _ options: DecodingOptions) throws -> GeneratedTokens {
    try begin(prompt, options)
    return GeneratedTokens(self)
  }

  /// Continues `prompt` as `tokens` does, and returns all tokens at once.
  ///
  /// - Parameters:
  ///   - prompt: all ids; entries that the caches have are not computed again
  ///   - options: limit, stop ids, drafting, sampling
  ///   - onToken: decides after each new token whether the generation continues
  /// - Throws: as `tokens`, and `GenerationError` for logits that are not finite
  public func generate(
    _ prompt: [Int32], _ options: DecodingOptions, onToken: (GeneratedToken) -> TokenDecision = { _ in .proceed }
  ) throws -> Generation { try generate(prompt, options, isWanted: { true }, onToken: onToken) }

  /// Continues `prompt` for a caller who may cancel during the prefill of a long prompt.
  ///
  /// - Parameters:
  ///   - prompt: all ids; entries that the caches have are not computed again
  ///   - options: limit, stop ids, drafting, sampling
  ///   - isWanted: called before each chunk of the prompt; false cancels the generation, and the chunks so far stay
  ///     cached
  ///   - onToken: decides after each new token whether the generation continues
  /// - Throws: as the overload without `isWanted`
  public func generate(
    _ prompt: [Int32], _ options: DecodingOptions, isWanted: () -> Bool, onToken: (GeneratedToken) -> TokenDecision
  ) throws -> Generation {
    let tokens = try tokens(prompt, options)
    tokens.prefill(while: isWanted)
    while let token = try tokens.next() { if case .stop(let cause) = onToken(token) { tokens.stop(cause) } }
    return try tokens.finish()
  }

  // MARK: step by step

  /// Whether a generation is in progress that has neither ended nor failed.
  package var isBusy: Bool { active?.isBusy ?? false }

  /// Whether entries of the prompt are missing.
  package var isPrefilling: Bool { active?.isPrefilling ?? false }

  /// Whether the prompt is complete, and the next round may run.
  package var isDecoding: Bool { active?.isDecoding ?? false }

  /// The positions of the prompt's next chunk; none without a prompt.
  package var nextChunk: Range<Int> { active?.nextChunk ?? 0..<0 }

  /// Begins a generation; the cached prefix that its prompt shares is kept.
  ///
  /// - Throws: `GenerationError` for a prompt or options that cannot be decoded; then nothing has changed
  package func begin(_ prompt: [Int32], _ options: DecodingOptions) throws {
    precondition(active == nil, "a session writes one text at a time")
    try target.check(prompt, options)
    let context = sequence.kv.capacity - DraftPlan.maxNodes - 1
    guard prompt.count + options.maxNewTokens <= context else {
      throw GenerationError(
        "a prompt of \(prompt.count) tokens and \(options.maxNewTokens) new ones do not fit the context of \(context)")
    }
    active = ActiveGeneration(prompt, options, caches: caches, onLogits: onLogits)
  }

  /// One pass over the next chunk of each prompt. A session whose prompt is then complete has its first token.
  package static func prefill(_ sessions: [DecodingSession]) { ActiveGeneration.prefill(sessions.compactMap(\.active)) }

  /// One round of each sequence. The tokens of the last pass must have been taken.
  package static func decode(_ sessions: [DecodingSession]) { ActiveGeneration.decode(sessions.compactMap(\.active)) }

  /// Takes the next token of the last pass; nil when all of them are taken, or the generation has ended.
  package func nextToken() -> GeneratedToken? { active?.nextToken() }

  /// Takes the tokens of the last pass until the generation ends.
  package func takeTokens(_ onToken: (GeneratedToken) -> TokenDecision = { _ in .proceed }) {
    while let token = nextToken() { if case .stop(let cause) = onToken(token) { stop(cause) } }
  }

  /// Ends the generation with the last token that was taken. Without effect on one that has ended.
  package func stop(_ cause: StopCause) { active?.stop(cause) }

  /// Ends the generation in any phase, and returns what it has so far. The caches stay for the next one.
  ///
  /// - Throws: the error that failed it
  package func end() throws -> Generation {
    guard let active else { preconditionFailure("a session without a text is ended") }
    self.active = nil
    return try active.end()
  }
}

extension TargetModel {
  /// - Throws: `GenerationError` for an empty prompt, an id outside the vocabulary, options without a meaning, or more
  ///   positions than there are
  fileprivate func check(_ prompt: [Int32], _ options: DecodingOptions) throws {
    guard !prompt.isEmpty else { throw GenerationError("the prompt is empty: give at least one token") }
    if let invalid = prompt.first(where: { !isToken($0) }) {
      throw GenerationError("token id \(invalid) is outside the target's vocabulary of \(shape.vocabularySize)")
    }
    guard options.maxNewTokens <= shape.maxPositions - prompt.count else {
      throw GenerationError(
        "a prompt of \(prompt.count) tokens and \(options.maxNewTokens) new ones need more positions than the "
          + "target's \(shape.maxPositions): shorten the prompt or ask for fewer tokens")
    }
    if let invalid = options.sampling.logitBias.keys.first(where: { !isToken($0) }) {
      throw GenerationError(
        "the logit bias of token \(invalid) is outside the target's vocabulary of \(shape.vocabularySize)")
    }
    try options.plan.validate()
    try options.sampling.validate()
  }

  private func isToken(_ id: Int32) -> Bool { id >= 0 && id < shape.vocabularySize }
}
