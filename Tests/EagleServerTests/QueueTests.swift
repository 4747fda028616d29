import EagleDecoding
import EagleDraft
import EagleRunFiles
import EagleServer
import EagleText
import Foundation
import Synchronization
import Testing

@Suite struct QueueTests {
  private final class Ends: Sendable {
    let list = Mutex<[String]>([])

    func add(_ job: Job, _ end: Job.End) {
      let name =
        switch end {
        case .finished(let outcome): "finished \(outcome.finish)"
        case .failed(let error): "failed \(error.status)"
        case .cancelled: "cancelled"
        }
      list.withLock { $0.append("\(job.id) \(name)") }
    }
  }

  /// Ids are bytes.
  private let tokenizer: Tokenizer

  init() throws {
    // GPT-2's printable stand-in for each byte.
    let printable = Array(33...126) + Array(161...172) + Array(174...255)
    let others = (0..<256).filter { !printable.contains($0) }
    let tokens = (0..<256).map { byte in
      String(Unicode.Scalar(UInt32(printable.contains(byte) ? byte : 256 + others.firstIndex(of: byte)!))!)
    }
    tokenizer = try Tokenizer(
      json: TokenizerFile.json(
        tokens: tokens, merges: [], tokenTypes: [Int32](repeating: 1, count: 256), preTokenizer: "gpt-2"), path: "bytes"
    )
  }

  private func job(_ id: Int, stops: [String] = [], _ ends: Ends = Ends()) -> (job: Job, events: AsyncStream<JobEvent>)
  {
    Job.make(
      id: id, prompt: [1], options: DecodingOptions(maxNewTokens: 100, stopIDs: []),
      stream: StreamingDetokenizer(tokenizer, stops: stops), onEnd: ends.add)
  }

  @Test("jobs are served first come, first served, and a full queue rejects more")
  func firstComeFirstServed() {
    let queue = RequestQueue(capacity: 3)
    let jobs = (0..<4).map { job($0) }
    #expect(jobs.prefix(3).map { queue.add($0.job) } == [.admitted, .admitted, .admitted])
    #expect(queue.add(jobs[3].job) == .full(3))
    #expect(queue.next()?.id == 0)
    #expect(queue.add(jobs[3].job) == .admitted)
    #expect((0..<3).map { _ in queue.poll()?.id } == [1, 2, 3])
    #expect(queue.poll() == nil)
  }

  @Test("several jobs come in together or not at all")
  func together() {
    let queue = RequestQueue(capacity: 3)
    let jobs = (0..<4).map { job($0).job }
    #expect(queue.add(jobs) == .full(0) && queue.count == 0)
    #expect(queue.add(Array(jobs.prefix(2))) == .admitted && queue.add(Array(jobs.suffix(2))) == .full(2))
    #expect(queue.poll()?.id == 0 && queue.poll()?.id == 1)
  }

  @Test("the token that ends a text is no part of it")
  func stopTokens() async {
    let (job, events) = Job.make(
      id: 1, prompt: [1], options: DecodingOptions(maxNewTokens: 9, stopIDs: [66]),
      stream: StreamingDetokenizer(tokenizer),
      onEnd: { _, _ in })
    for token in [65, 66] as [Int32] { _ = job.take(GeneratedToken(id: token)) }
    job.finish(.stop, DecodingStatistics())
    var text = ""
    for await case .delta(let delta) in events { text += delta.text }
    #expect(text == "A")
  }

  @Test("drafted tokens that a round accepted behind the end of a text are not counted among its own")
  func draftsBehindTheEnd() async throws {
    let (job, events) = Job.make(
      id: 1, prompt: [1], options: DecodingOptions(maxNewTokens: 9, stopIDs: [66]),
      stream: StreamingDetokenizer(tokenizer),
      onEnd: { _, _ in })
    for token in [65, 66] as [Int32] { _ = job.take(GeneratedToken(id: token, isDrafted: true)) }
    var statistics = DecodingStatistics()
    (statistics.draftedTokens, statistics.rounds, statistics.accepted) = (3, 1, [1, 1, 1])
    job.finish(.stop, statistics)
    var last: Outcome?
    for await case .finished(let outcome) in events { last = outcome }
    let outcome = try #require(last)
    #expect(outcome.acceptedTokens == 2 && outcome.statistics.accepted == [1, 1, 1])
    let metrics = ServerMetrics()
    metrics.count(job, outcome)
    let text = metrics.text(waiting: 0, running: 0, cached: 0)
    #expect(text.contains("eagle_draft_accepted_tokens_total 2\n"))
    #expect(text.contains("eagle_draft_rejected_tokens_total 1\n"))
  }

  @Test("the log-probabilities of a stop string's tokens come, also those whose text is held back")
  func logprobsOfStopStrings() async {
    let (job, events) = job(1, stops: ["BC"])
    for token in [65, 66, 67] as [Int32] {
      _ = job.take(
        GeneratedToken(id: token, logprobs: TokenLogprobs(chosen: .init(token: token, logprob: -1), top: [])))
    }
    job.finish(.stopString, DecodingStatistics())
    var (text, ids) = ("", [Int32]())
    for await case .delta(let delta) in events {
      text += delta.text
      ids += delta.logprobs.map(\.chosen.token)
    }
    #expect(text == "A" && ids == [65, 66, 67])
  }

  @Test("a job that leaves the queue frees its slot")
  func leavingTheQueue() {
    let queue = RequestQueue(capacity: 2)
    let jobs = (0..<3).map { job($0) }
    for job in jobs.prefix(2) { _ = queue.add(job.job) }
    #expect(queue.remove(jobs[0].job) && !queue.remove(jobs[0].job))
    #expect(queue.add(jobs[2].job) == .admitted && queue.count == 2)
    #expect(queue.next()?.id == 1)
    #expect(!queue.remove(jobs[1].job))
  }

  @Test("a closed queue rejects jobs, serves those that wait, and ends")
  func aClosedQueueIsEmptiedAndThenEnds() async {
    let queue = RequestQueue(capacity: 2)
    let (first, second) = (job(0), job(1))
    _ = queue.add(first.job)
    queue.close()
    #expect(queue.add(second.job) == .closed)
    #expect(queue.next()?.id == 0)
    #expect(queue.next() == nil)
  }

  @Test("a thread that waits for a job gets the next one")
  func aThreadThatWaitsGetsTheJob() async {
    let queue = RequestQueue(capacity: 1)
    let (job, _) = job(7)
    let found = Task.detached { queue.next()?.id }
    _ = queue.add(job)
    #expect(await found.value == 7)
  }

  /// A stop string over three tokens, and a prefix of one that is not continued.
  @Test("no part of a stop string is sent")
  func stopStringsNeverShow() async {
    let ends = Ends()
    let (job, events) = job(1, stops: ["END"], ends)
    let text = Array("an EN, then END and more".utf8)
    var (taken, decision) = (0, TokenDecision.proceed)
    for byte in text {
      taken += 1
      decision = job.take(GeneratedToken(id: Int32(byte), isDrafted: taken.isMultiple(of: 2)))
      if decision != .proceed { break }
    }
    #expect(decision == .stop(.stopString) && taken == 15)
    job.finish(.stopString, DecodingStatistics())
    var (answer, tokens, accepted, finish, all) = ("", 0, 0, Outcome.Finish.length, 0)
    for await event in events {
      switch event {
      case .delta(let delta):
        answer += delta.text
        tokens += delta.tokens
        accepted += delta.accepted
      case .finished(let outcome): (finish, all) = (outcome.finish, outcome.acceptedTokens)
      case .failed(let error): Issue.record("\(error)")
      }
    }
    #expect(answer == "an EN, then " && finish == .stop)
    // The three tokens of END are never shown, but the drafted one among them counts as a token of the answer.
    #expect(tokens == 12 && accepted == 6 && all == 7)
    #expect(ends.list.withLock { $0 } == ["1 finished stop"])
  }

  @Test("a character is sent whole")
  func charactersAreNotCut() async {
    let (job, events) = job(1)
    for byte in Array("a中🦅".utf8) { _ = job.take(GeneratedToken(id: Int32(byte))) }
    job.finish(.length, DecodingStatistics())
    var deltas: [TextDelta] = []
    for await case .delta(let delta) in events { deltas.append(delta) }
    #expect(deltas.map(\.text) == ["a", "中", "🦅"] && deltas.map(\.tokens) == [1, 3, 4])
  }

  @Test("a cancelled job ends without a further event")
  func cancelledJobs() async {
    let ends = Ends()
    let (job, events) = job(2, ends)
    #expect(job.take(GeneratedToken(id: 65)) == .proceed)
    job.cancel()
    #expect(job.take(GeneratedToken(id: 66)) == .stop(.cancelled))
    job.finish(.cancelled, DecodingStatistics())
    var last: JobEvent?
    for await event in events { last = event }
    #expect(last == .delta(TextDelta(text: "B", tokens: 1, accepted: 0)))
    #expect(ends.list.withLock { $0 } == ["2 cancelled"])
  }

  @Test("a job whose events are dropped is cancelled")
  func aJobThatNobodyListensToIsCancelled() {
    /// A job whose event stream has no reader when the call returns.
    func deserted() -> Job {
      let (job, events) = job(3)
      withExtendedLifetime(events) { #expect(!job.isCancelled) }
      return job
    }
    #expect(deserted().isCancelled)
  }

  @Test("a server that stops fails its running jobs with 503")
  func aServerThatStopsTellsThoseWhoWait() async {
    let ends = Ends()
    let (job, events) = job(4, ends)
    job.stop()
    job.finish(.cancelled, DecodingStatistics())
    var last: JobEvent?
    for await event in events { last = event }
    #expect(last == .failed(.stopping))
    #expect(ends.list.withLock { $0 } == ["4 failed 503"])
  }
}

@Suite struct RequestStatusTests {
  @Test("a request of several texts has one status, which it gets with its last text: that of its first failure")
  func severalTexts() {
    let good = RequestStatus(texts: 2)
    #expect(good.note(200) == nil && good.note(200) == 200)
    let bad = RequestStatus(texts: 3)
    #expect(bad.note(200) == nil && bad.note(500) == nil && bad.note(499) == 500)
  }

  @Test("a request for more texts than the queue has room for is told how many there are")
  func fullQueue() {
    let error = APIError.queueFull(waiting: 3, texts: 4, capacity: 6, retryAfter: 2)
    #expect(error.status == 429)
    #expect(error.message.contains("3 texts wait already, and this request has 4 prompts: the queue holds 6"))
    #expect(error.headers["Retry-After"] == "2")
  }
}
