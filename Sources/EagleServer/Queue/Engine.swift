import EagleChat
import EagleDecoding
import EagleDraft
import EagleModels
import Foundation
import Synchronization

/// Decodes the sequences of all jobs on a thread of its own. Passes are long and must not block the connections, and
/// the worker threads of the GEMMs belong to the calling thread.
///
/// Continuous batching: a step is one round of all sequences in the batch, and one prefill chunk of one prompt. A draft
/// is as long as the measured costs justify for the batch size. Each sequence has its own session and KV caches, so its
/// tokens do not depend on the rest of the batch.
final class Engine: @unchecked Sendable {
  let queue: RequestQueue
  private let target: TargetModel
  private let draft: DraftModel?
  private let width: Int
  private let limits: CacheLimits
  /// The jobs of the batch.
  private let running = Mutex<[Job]>([])
  /// The tokens in caches, for the metrics.
  private let cachedCount = Atomic(0)
  private let hasStarted = Atomic(false)
  private let hasEnded = Atomic(false)

  // Only the engine's thread uses the following.
  private let conversations: Conversations
  private var budget: CacheBudget
  private var slots: [Slot] = []

  /// A job of the batch, and the session that decodes its sequence.
  private final class Slot {
    let job: Job
    let session: DecodingSession

    init(_ job: Job, _ session: DecodingSession) { (self.job, self.session) = (job, session) }

    /// Gives the tokens of the last pass to the job.
    func deliver() { session.takeTokens(job.take) }
  }

  init(model: ChatModel, draft: DraftModel?, config: ServerConfig, limits: CacheLimits) {
    queue = RequestQueue(capacity: config.queue)
    (target, self.draft, width, self.limits) = (model.target, draft, config.batch, limits)
    conversations = Conversations(limit: config.conversations)
    budget = CacheBudget(limits)
  }

  /// The number of jobs in the batch.
  var runningCount: Int { running.withLock(\.count) }

  /// The tokens that all KV caches hold.
  var cachedTokens: Int { cachedCount.load(ordering: .relaxed) }

  /// Whether its thread is not running: it was never started, or has ended after the queue was closed.
  var isIdle: Bool { !hasStarted.load(ordering: .acquiring) || hasEnded.load(ordering: .acquiring) }

  func start() {
    hasStarted.store(true, ordering: .releasing)
    let thread = Thread { [self] in
      while let job = queue.next() {
        begin(job)
        while !slots.isEmpty { step() }
      }
      hasEnded.store(true, ordering: .releasing)
    }
    thread.name = "eagle-engine"
    thread.stackSize = 16 << 20
    thread.start()
  }

  /// Cancels a job whose client has gone. A queued job leaves the queue at once; a running sequence ends with the
  /// current pass.
  func cancel(_ job: Job) {
    job.cancel()
    if queue.remove(job) { job.abandon() }
  }

  /// Ends all jobs, queued and running, with an error.
  func cancelAll() {
    for job in queue.removeAll() { job.fail(.stopping) }
    for job in running.withLock({ $0 }) { job.stop() }
  }

  // MARK: one step

  private func step() {
    for slot in slots where slot.job.isCancelled { end(slot) }
    while slots.count < width, let job = queue.poll(where: { budget.admits($0.maxTokens) }) { begin(job) }
    DecodingSession.decode(slots.map(\.session).filter(\.isDecoding))
    for slot in slots { slot.deliver() }
    if let next = slots.firstIndex(where: \.session.isPrefilling) {
      DecodingSession.prefill([slots[next].session])
      slots[next].deliver()
      // Prompts are prefilled round-robin, so that a short one does not wait for a long one.
      slots.append(slots.remove(at: next))
    }
    for slot in slots where !slot.session.isBusy { end(slot) }
    countTokens()
  }

  private func begin(_ job: Job) {
    job.begin()
    running.withLock { $0.append(job) }
    guard !job.isCancelled else { return leave(job) { job.abandon() } }
    budget.reserve(job.maxTokens)
    let session =
      conversations.take(for: job.prompt)
      ?? DecodingSession(target: target, draft: draft, context: limits.context)
    conversations.evict(toBytes: budget.left)
    do {
      try session.begin(job.prompt, job.options)
      session.releaseUnused()
      slots.append(Slot(job, session))
    } catch {
      budget.release(job.maxTokens)
      conversations.keep(session)
      leave(job) { job.fail(.failed("\(error)")) }
    }
  }

  private func end(_ ended: Slot) {
    let job = ended.job
    slots.removeAll { $0 === ended }
    budget.release(job.maxTokens)
    leave(job) {
      do {
        let generation = try ended.session.end()
        conversations.keep(ended.session)
        conversations.evict(toBytes: budget.left)
        job.finish(generation.finish, generation.statistics)
      } catch {
        job.fail(.failed("\(error)"))
      }
    }
  }

  private func leave(_ job: Job, _ last: () -> Void) {
    running.withLock { $0.removeAll { $0 === job } }
    last()
  }

  private func countTokens() {
    let tokens = slots.reduce(conversations.tokens) { $0 + $1.session.cachedTokens }
    cachedCount.store(tokens, ordering: .relaxed)
  }
}
