import EagleDecoding
import EagleModels
import EagleTraining
import Foundation
import Synchronization

/// Writes the texts of all jobs, on a thread of its own: passes last long and must not hold up the connections, and the threads of
/// the products belong to the thread that calls them.
///
/// A job that is alone is written speculatively. As soon as others wait they are written together with it, which gives more tokens
/// a second than speculation in turn; whoever comes meanwhile joins them.
final class Engine: @unchecked Sendable {
  let queue: RequestQueue
  private let conversations: Conversations
  private let batch: JobBatch?
  /// Jobs that are being written.
  private let running = Mutex<[Job]>([])
  private let hasEnded = Atomic(false)

  init(model: ChatModel, draft: DraftModel?, config: ServerConfig) {
    queue = RequestQueue(capacity: config.queue)
    conversations = Conversations(target: model.target, draft: draft, limit: config.conversations)
    batch = config.batch > 1 ? JobBatch(target: model.target, stopIDs: model.stopIDs, width: config.batch) : nil
  }

  /// Jobs that are being written.
  var runningCount: Int { running.withLock(\.count) }

  /// Whether its thread has ended, after the queue was closed.
  var isIdle: Bool { hasEnded.load(ordering: .acquiring) }

  func start() {
    let thread = Thread { [self] in
      while let job = queue.next() { run(job) }
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

  private func run(_ job: Job) {
    enter(job)
    if isCrowded { return writeTogether(JobBatch.Beginning(job: job)) }
    if let beginning = write(job) { return writeTogether(beginning) }
    leave(job)
  }

  /// Whether others wait who can be written together with whoever is being written.
  private var isCrowded: Bool { batch != nil && queue.count > 0 }

  private func writeTogether(_ beginning: JobBatch.Beginning) {
    batch?.write(beginning, next: { self.queue.poll().map(self.enter) }, ended: leave)
  }

  /// Writes a text by itself. Returns what there is of it when others come.
  private func write(_ job: Job) -> JobBatch.Beginning? {
    if job.isCancelled {
      job.abandon()
      return nil
    }
    let session = conversations.session(for: job.prompt)
    do {
      let generation = try session.generate(
        job.prompt, job.options, isWanted: { !job.isCancelled && !isCrowded },
        onToken: { job.take($0, isDrafted: $1) && !isCrowded })
      if generation.finish == .caller && !job.isStopped && !job.isCancelled {
        conversations.remove(session)
        return JobBatch.Beginning(job: job, text: generation, session: session)
      }
      job.finish(generation.finish, generation.statistics)
    } catch {
      job.fail(.failed("\(error)"))
    }
    return nil
  }

  @discardableResult
  private func enter(_ job: Job) -> Job {
    job.begin()
    running.withLock { $0.append(job) }
    return job
  }

  private func leave(_ job: Job) { running.withLock { $0.removeAll { $0 === job } } }
}
