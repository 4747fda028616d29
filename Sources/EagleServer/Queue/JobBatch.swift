import EagleDecoding
import EagleModels

/// Writes the texts of several jobs together, without drafts: a pass over the weights gives a token to each.
final class JobBatch {
  private let generator: BatchGenerator
  /// By number of the job.
  private var members: [Int: Member] = [:]

  /// A job as it comes into the batch: new, or with what a session has written of it.
  struct Beginning {
    let job: Job
    var text: Generation?
    var session: DecodingSession?
  }

  fileprivate struct Member {
    let job: Job
    var statistics = DecodingStatistics()
    var last = ContinuousClock.now
  }

  init(target: TargetModel, stopIDs: Set<Int32>, width: Int) {
    generator = BatchGenerator(target: target, width: width, stopIDs: stopIDs)
  }

  /// Writes a job and all that come while there is work.
  ///
  /// - Parameters:
  ///   - next: the job that has waited longest, asked for when there is room
  ///   - ended: gets each job at its end
  func write(_ first: Beginning, next: () -> Job?, ended: (Job) -> Void) {
    begin(first, ended)
    repeat {
      while generator.hasRoom, let job = next() { begin(Beginning(job: job), ended) }
      for token in generator.advance() { take(token, ended) }
      for member in members.values where member.job.isCancelled { drop(member.job, ended) }
    } while !members.isEmpty
  }

  private func begin(_ beginning: Beginning, _ ended: (Job) -> Void) {
    let job = beginning.job
    guard !job.isCancelled else {
      job.abandon()
      return ended(job)
    }
    do {
      members[job.id] = try member(beginning)
    } catch {
      job.fail(.failed("\(error)"))
      ended(job)
    }
  }

  private func member(_ beginning: Beginning) throws -> Member {
    let (job, written) = (beginning.job, beginning.text?.ids ?? [])
    let request = DecodingRequest(
      id: job.id, prompt: job.prompt + written, sampling: job.options.sampling,
      maxNewTokens: job.options.maxNewTokens - written.count)
    var member = Member(job: job)
    if let session = beginning.session {
      try generator.begin(request, takingOver: session)
      member.statistics = beginning.text?.statistics ?? member.statistics
    } else {
      member.statistics.promptTokens = job.prompt.count
      member.statistics.cachedTokens = try generator.begin(request)
    }
    return member
  }

  private func take(_ token: BatchGenerator.NewToken, _ ended: (Job) -> Void) {
    guard var member = members[token.id] else { return }
    member.count()
    members[token.id] = member
    let isWanted = member.job.take(token.token, isDrafted: false)
    guard token.isLast || !isWanted else { return }
    generator.end(token.id)
    members[token.id] = nil
    let isStop = member.job.options.stopIDs.contains(token.token)
    member.job.finish(token.isLast ? (isStop ? .stop : .length) : .caller, member.statistics)
    ended(member.job)
  }

  /// Takes out a job that was cancelled.
  private func drop(_ job: Job, _ ended: (Job) -> Void) {
    generator.end(job.id)
    members[job.id] = nil
    job.abandon()
    ended(job)
  }
}

extension JobBatch.Member {
  /// Counts a token, the first of which ends the reading of the prompt.
  fileprivate mutating func count() {
    let now = ContinuousClock.now
    let time = last.seconds(to: now)
    last = now
    statistics.newTokens += 1
    guard statistics.newTokens > 1 else {
      statistics.promptSeconds += time
      return
    }
    statistics.decodedTokens += 1
    statistics.targetPasses += 1
    statistics.targetRows += 1
    statistics.decodeSeconds += time
  }
}
