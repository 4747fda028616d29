import EagleDecoding
import EagleDraft
import EagleRunFiles
import EagleText
import Foundation
import Synchronization

/// An event of a job, for its client.
package enum JobEvent: Sendable, Equatable {
  case delta(TextDelta)
  case finished(Outcome)
  case failed(APIError)
}

/// A sequence to generate, from its arrival to its end. The engine's thread decodes it; any thread may cancel it.
///
/// Its events are in an `AsyncStream`. The job is cancelled when no reader holds the stream any more.
package final class Job: @unchecked Sendable {
  package let id: Int
  package let prompt: [Int32]
  package let options: DecodingOptions
  package let arrival = ContinuousClock.now

  /// The maximum number of tokens, including its prompt.
  var maxTokens: Int { prompt.count + options.maxNewTokens }

  private let demand = Atomic(Demand.wanted)
  private let events: AsyncStream<JobEvent>.Continuation
  private let onEnd: @Sendable (Job, End) -> Void

  // Only the engine's thread uses the following.
  private var stream: StreamingDetokenizer
  /// All generated tokens so far, including the one that ends the sequence.
  private(set) var answer: [Int32] = []
  /// Drafted tokens among them.
  private var accepted = 0
  /// How many of both were reported in events.
  private var reported = (tokens: 0, accepted: 0)
  private var logprobs: [TokenLogprobs] = []
  private(set) var start: ContinuousClock.Instant?
  private(set) var firstToken: ContinuousClock.Instant?

  private enum Demand: UInt8, AtomicRepresentable {
    case wanted
    /// The client has gone.
    case unwanted
    /// The server is stopping and its time is over.
    case stopped
  }

  /// The end of a job.
  package enum End: Sendable {
    case finished(Outcome)
    case failed(APIError)
    case cancelled
  }

  /// - Parameters:
  ///   - onEnd: called once, before the last event
  /// - Returns: the job, and the events that its client reads
  package static func make(
    id: Int, prompt: [Int32], options: DecodingOptions, stream: StreamingDetokenizer,
    onEnd: @escaping @Sendable (Job, End) -> Void
  ) -> (job: Job, events: AsyncStream<JobEvent>) {
    let (events, continuation) = AsyncStream<JobEvent>.makeStream()
    let job = Job(id: id, prompt: prompt, options: options, stream: stream, events: continuation, onEnd: onEnd)
    continuation.onTermination = { [weak job] reason in
      if case .cancelled = reason { job?.cancel() }
    }
    return (job, events)
  }

  private init(
    id: Int, prompt: [Int32], options: DecodingOptions, stream: StreamingDetokenizer,
    events: AsyncStream<JobEvent>.Continuation, onEnd: @escaping @Sendable (Job, End) -> Void
  ) {
    (self.id, self.prompt, self.options) = (id, prompt, options)
    (self.stream, self.events, self.onEnd) = (stream, events, onEnd)
  }

  package var isCancelled: Bool { demand.load(ordering: .relaxed) != .wanted }

  /// Cancels the job: its client has gone.
  package func cancel() { demand.store(.unwanted, ordering: .relaxed) }

  /// Stops the job: its client waits, but the server must end.
  package func stop() { demand.store(.stopped, ordering: .relaxed) }

  // MARK: the engine's thread

  /// Records the time at which the job leaves the queue.
  package func begin() { start = .now }

  package var queueSeconds: Double { arrival.duration(to: start ?? .now).inSeconds }

  /// Sends the text that a new token completes.
  package func take(_ token: GeneratedToken) -> TokenDecision {
    if firstToken == nil { firstToken = .now }
    answer.append(token.id)
    if token.isDrafted { accepted += 1 }
    // The token that ends a sequence contributes no text.
    if !options.stopIDs.contains(token.id) {
      if let logprobs = token.logprobs { self.logprobs.append(logprobs) }
      emit(stream.append(token.id))
      if stream.isStopped { return .stop(.stopString) }
    }
    return isCancelled ? .stop(.cancelled) : .proceed
  }

  package func finish(_ reason: FinishReason, _ statistics: DecodingStatistics) {
    guard let finish = Outcome.Finish(reason) else { return abandon() }
    emit(stream.finish(), isLast: true)
    var outcome = Outcome(finish: finish, statistics: statistics, queueSeconds: queueSeconds)
    outcome.acceptedTokens = accepted
    onEnd(self, .finished(outcome))
    events.yield(.finished(outcome))
    events.finish()
  }

  package func fail(_ error: APIError) {
    onEnd(self, .failed(error))
    events.yield(.failed(error))
    events.finish()
  }

  /// Ends a job that was cancelled, without an event when its client has gone.
  package func abandon() {
    if demand.load(ordering: .relaxed) == .stopped { return fail(.stopping) }
    onEnd(self, .cancelled)
    events.finish()
  }

  /// Sends new text with its tokens. Tokens whose text is held back, as part of a character or of a stop string, are
  /// counted in the next event.
  ///
  /// - Parameter isLast: whether no other event follows, so that the logprobs of tokens without text are sent too
  private func emit(_ text: String, isLast: Bool = false) {
    if text.isEmpty && !(isLast && !logprobs.isEmpty) { return }
    var delta = TextDelta(
      text: text, tokens: answer.count - reported.tokens, accepted: accepted - reported.accepted)
    delta.logprobs = logprobs
    events.yield(.delta(delta))
    reported = (answer.count, accepted)
    logprobs = []
  }
}
