import EagleChat
import EagleDecoding
import EagleModels
import Foundation
import Synchronization

/// Writes the texts of all jobs, on a thread of its own: passes last long and must not hold up the connections, and the
/// threads of the matrix products belong to the thread that calls them.
///
/// Continuous batching: a step is one round of all texts that are being written, and one piece of one prompt. A text is
/// drafted for while it is alone or with a few others, as far as measured costs say that it pays; each keeps its own
/// session and KV caches, so it never matters who else is there.
final class Engine: @unchecked Sendable {
  let queue: RequestQueue
  private let target: TargetModel
  private let draft: DraftModel?
  private let width: Int
  private let limits: CacheLimits
  /// Jobs that are being written.
  private let running = Mutex<[Job]>([])
  /// Tokens in caches, for the metrics.
  private let cachedCount = Atomic(0)
  private let hasStarted = Atomic(false)
  private let hasEnded = Atomic(false)

  // The engine's thread alone.
  private let conversations: Conversations
  private var budget: CacheBudget
  private var work: [Work] = []

  /// A job, and the session that writes it.
  private final class Work {
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
    budget = CacheBudget(tokens: limits.tokens)
  }

  /// Jobs that are being written.
  var runningCount: Int { running.withLock(\.count) }

  /// Tokens that all KV caches hold.
  var cachedTokens: Int { cachedCount.load(ordering: .relaxed) }

  /// Whether no thread of it is at work: it was never started, or has ended after the queue was closed.
  var isIdle: Bool { !hasStarted.load(ordering: .acquiring) || hasEnded.load(ordering: .acquiring) }

  func start() {
    hasStarted.store(true, ordering: .releasing)
    let thread = Thread { [self] in
      while let job = queue.next() {
        begin(job)
        while !work.isEmpty { step() }
      }
      hasEnded.store(true, ordering: .releasing)
    }
    thread.name = "eagle-engine"
    thread.stackSize = 16 << 20
    thread.start()
  }

  /// A client has gone: its place in the queue is free at once, and its text ends with the pass that runs.
  func cancel(_ job: Job) {
    job.cancel()
    if queue.remove(job) { job.abandon() }
  }

  /// Ends all texts, in the queue and out of it, with an error.
  func cancelAll() {
    for job in queue.removeAll() { job.fail(.stopping) }
    for job in running.withLock({ $0 }) { job.stop() }
  }

  // MARK: one step

  private func step() {
    for work in work where work.job.isCancelled { end(work) }
    while work.count < width, let job = queue.poll(where: { budget.admits($0.mostTokens) }) { begin(job) }
    DecodingSession.decode(work.map(\.session).filter(\.isDecoding))
    for work in work { work.deliver() }
    if let next = work.firstIndex(where: \.session.isPrefilling) {
      DecodingSession.prefill([work[next].session])
      work[next].deliver()
      // Prompts take turns, so that a short one need not wait for a long one.
      work.append(work.remove(at: next))
    }
    for work in work where !work.session.isBusy { end(work) }
    countTokens()
  }

  private func begin(_ job: Job) {
    job.begin()
    running.withLock { $0.append(job) }
    guard !job.isCancelled else { return leave(job) { job.abandon() } }
    budget.reserve(job.mostTokens)
    let session =
      conversations.take(for: job.prompt)
      ?? DecodingSession(target: target, draft: draft, context: limits.context)
    conversations.shrink(to: budget.left)
    do {
      try session.begin(job.prompt, job.options)
      session.releaseUnused()
      work.append(Work(job, session))
    } catch {
      budget.release(job.mostTokens)
      conversations.keep(session)
      leave(job) { job.fail(.failed("\(error)")) }
    }
  }

  private func end(_ ended: Work) {
    let job = ended.job
    work.removeAll { $0 === ended }
    budget.release(job.mostTokens)
    leave(job) {
      do {
        let generation = try ended.session.end()
        conversations.keep(ended.session)
        conversations.shrink(to: budget.left)
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
    let tokens = work.reduce(conversations.tokens) { $0 + $1.session.cachedTokens }
    cachedCount.store(tokens, ordering: .relaxed)
  }
}
