/// The tokens of one generation. Each call of `next` computes as much as the next token needs, on the calling thread.
///
///     let tokens = try session.tokens(prompt, options)
///     while let token = try tokens.next() {
///       show(token)
///       if userInterrupts { tokens.stop(.cancelled) }
///     }
///     let generation = try tokens.finish()
///
/// Asynchronous code may write `for try await token in tokens`. A loop that is left early ends the generation with the
/// last token that it has seen; the entries of all seen tokens stay in the session's caches. The tokens can be iterated
/// once: the value is its own iterator.
public final class GeneratedTokens: AsyncSequence, AsyncIteratorProtocol {
  private enum State {
    case running
    case finished(Result<Generation, any Error>)
  }

  private let session: DecodingSession
  private var state = State.running

  init(_ session: DecodingSession) { self.session = session }

  deinit { if case .running = state { _ = try? session.end() } }

  /// The next token; nil after the last one.
  ///
  /// - Throws: `GenerationError` for logits that are not finite
  public func next() throws -> GeneratedToken? {
    guard case .running = state else { return nil }
    while session.isBusy {
      if let token = session.nextToken() { return token }
      if session.isPrefilling { DecodingSession.prefill([session]) }
      if session.isDecoding { DecodingSession.decode([session]) }
    }
    _ = try finish()
    return nil
  }

  /// The value itself, which one loop can iterate over, once.
  public func makeAsyncIterator() -> GeneratedTokens { self }

  /// Computes the prompt's entries of the KV cache, chunk by chunk, for as long as they are wanted. `next` computes
  /// them without that check.
  ///
  /// - Parameter isWanted: called before each chunk; false cancels the generation, and the chunks so far stay cached
  public func prefill(while isWanted: () -> Bool) {
    while session.isPrefilling {
      guard isWanted() else { return stop(.cancelled) }
      DecodingSession.prefill([session])
    }
  }

  /// Ends the generation with the last token that `next` has returned. Without effect on one that has ended.
  public func stop(_ cause: StopCause) { if case .running = state { session.stop(cause) } }

  /// The generation so far, which ends here if it has not ended yet.
  ///
  /// - Throws: `GenerationError` for logits that were not finite
  public func finish() throws -> Generation {
    if case .finished(let result) = state { return try result.get() }
    let result = Result { try session.end() }
    state = .finished(result)
    return try result.get()
  }
}
