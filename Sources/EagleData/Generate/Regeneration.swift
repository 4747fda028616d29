import EagleChat
import EagleCluster
import EagleCore
import EagleDecoding
import EagleStorage
import EagleText
import Foundation

/// Lets the target answer the user's turns of other conversations again, turn by turn, on all ranks.
///
/// A system message stays. An answer that is broken off at `max_new_tokens` ends its conversation and is marked. Ranks
/// take conversations as they get on; which one answers changes no text, but for tokens that are equally likely to
/// within rounding.
public struct Regeneration {
  private let model: ChatModel
  private let config: RegenerateConfig
  private let maxLength: Int
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let stop: StopRequest

  /// Prompts of more than `maxLength` tokens, which are what a conversation is trained on, will get no answer.
  public init(
    model: ChatModel, config: RegenerateConfig, maxLength: Int, cluster: any Communicator,
    progress: ProgressSink, stop: StopRequest = StopRequest()
  ) {
    self.model = model
    self.config = config
    self.maxLength = min(maxLength, model.target.shape.maxPositions - config.maxNewTokens)
    self.cluster = cluster
    self.progress = progress
    self.stop = stop
  }

  /// Answers what is not answered yet. Collective.
  ///
  /// - Throws: for input without prompts or with more than 1 % broken lines, and an output of other settings;
  ///   `StoppedRun` when a stop was asked for, with the finished conversations kept
  public func run() throws {
    let request = try agreedRequest()
    let origin = GeneratedFile.Origin(stage: "regenerate", fingerprint: try fingerprint())
    let complete = try cluster.isRoot ? GeneratedFile.completion(of: request, config.output, origin) : nil
    if try cluster.anyTrue(complete != nil) { return reportUpToDate(complete) }
    let finished = try cluster.isRoot ? GeneratedFile.finished(config.output, origin) : nil
    let questions = try Questions(paths: config.input, known: finished, cluster)
    if cluster.isRoot { report(questions) }
    let file = try GeneratedFile(output: config.output, origin: origin, cluster: cluster)
    let work = Work(
      source: try PromptQueue(paths: config.input, known: file.known, cluster: cluster), file: file, model: model,
      config: config, maxLength: maxLength)
    let meter = GenerationMeter(stage: "regenerate", total: questions.total, progress: progress)
    if questions.unknown > 0 { try answer(work, file, meter) }
    let counts = try work.counts.sum(over: cluster)
    let contents = try finish(file, questions, finished, counts)
    guard cluster.isRoot else { return }
    let result = GeneratedFile.Completion(
      request: request, conversations: contents.conversations, leftOut: questions.total - contents.named,
      sha256: try FileDigest.sha256(path: config.output))
    try GeneratedFile.note(result, config.output, origin)
    if counts.answers == 0 && finished != nil { return reportUpToDate(result) }
    progress.finish(
      "regenerate",
      "\(result.conversations) conversations to \(questions.total) questions in \(config.output)"
        + meter.summary(counts))
  }

  /// Writes the output, or leaves a finished one to which nothing was added as it is.
  private func finish(
    _ file: GeneratedFile, _ questions: Questions, _ finished: Set<String>?, _ counts: GenerationCounts
  ) throws -> GeneratedFile.Contents {
    if try counts.answers == 0 && cluster.anyTrue(finished != nil) {
      try file.close()
      return .init(conversations: finished?.count ?? 0, named: questions.total - questions.unknown)
    }
    var order = PromptStream(paths: config.input)
    return try file.finish(others: true) { try order.next()?.key }
  }

  private func reportUpToDate(_ complete: GeneratedFile.Completion?) {
    guard let complete else { return }
    let (count, some) = (complete.conversations, complete.leftOut)
    let leftOut =
      some == 0 ? "" : ", \(some) question\(some == 1 ? "" : "s") left out, of more than \(maxLength) tokens"
    progress.finish("regenerate", "up to date: \(count) conversations in \(config.output)\(leftOut)")
  }

  /// A digest of what is wanted, which all ranks have found on their own disks. Collective.
  private func agreedRequest() throws -> String {
    let files = try config.input.map { path in
      cluster.tick()
      return "\(path) \(try FileDigest.sha256(path: path))"
    }
    try cluster.agree(on: files.joined(separator: "\n"), about: "the files of regenerate.input")
    try cluster.agree(on: try model.textFingerprint(), about: "the tokenizer of \(model.target.path)")
    return FileDigest.sha256(
      Data((files.map { String($0.suffix(64)) } + ["\(maxLength)"]).joined(separator: "\n").utf8))
  }

  private func answer(_ work: Work, _ file: GeneratedFile, _ meter: GenerationMeter) throws {
    let generator = BatchGenerator(target: model.target, width: config.batch, stopIDs: model.stopIDs)
    do {
      try generator.run(
        next: { try work.next() },
        finished: { request, ids in
          let next = try work.finish(request, ids)
          meter.note(work.counts, done: file.known.count + work.begunByAll)
          return next
        },
        passed: {
          cluster.tick()
          try file.throwIfStopped(stop, during: "regenerate")
        }, failed: { throw work.failure($0, $1) })
    } catch is StoppedRun {}  // for all ranks to hear of, below
    try stop.throwIfAnyRankStops(cluster, during: "regenerate")
  }

  private func report(_ questions: Questions) {
    for report in questions.reports where report.skippedCount > 0 {
      let first = report.skipped[0]
      progress.say(
        "\(report.path): skipped \(report.skippedCount) lines, the first is line \(first.line): \(first.reason)")
    }
    if questions.repeated > 0 { progress.say("\(questions.repeated) questions came before and are asked once") }
  }

  /// Of everything that an answer follows from. More input may come later.
  private func fingerprint() throws -> String {
    var same = config
    (same.input, same.output, same.batch) = ([], "", RegenerateConfig().batch)
    let parts = [
      "regenerate 2", try JSONStyle.compactEscaped.text(same), model.target.fingerprint,
      model.template.family.rawValue, model.target.precision.rawValue, "\(model.stopIDs.sorted())",
    ]
    return FileDigest.sha256(Data(parts.joined(separator: "\n").utf8))
  }
}

/// The unanswered prompts of which this rank takes one after another, as the other ranks do.
private final class PromptQueue {
  private var stream: PromptStream
  private var seen: Set<String>
  private let draw: () throws -> Int
  /// Unanswered prompts that have been passed: what all ranks have begun, as far as this one knows.
  private(set) var passed = 0

  init(paths: [String], known: Set<String>, cluster: any Communicator) throws {
    stream = PromptStream(paths: paths)
    seen = known
    draw = try cluster.tickets()
  }

  func next() throws -> Prompt? {
    let ticket = try draw()
    while let prompt = try stream.next() {
      guard seen.insert(prompt.key).inserted else { continue }
      passed += 1
      if passed > ticket { return prompt }
    }
    return nil
  }
}

/// What one rank has in hand.
private final class Work {
  private let source: PromptQueue
  private let file: GeneratedFile
  private let model: ChatModel
  private let config: RegenerateConfig
  private let maxLength: Int
  private var open: [Int: Dialogue] = [:]
  private var begun = 0
  private(set) var counts = GenerationCounts()

  init(source: PromptQueue, file: GeneratedFile, model: ChatModel, config: RegenerateConfig, maxLength: Int) {
    self.source = source
    self.file = file
    self.model = model
    self.config = config
    self.maxLength = maxLength
  }

  /// Conversations that all ranks have taken, but for as many as this one has open.
  var begunByAll: Int { source.passed - open.count }

  func next() throws -> DecodingRequest? {
    while let prompt = try source.next() {
      begun += 1
      if let request = try request(begun, Dialogue(prompt: prompt)) { return request }
    }
    return nil
  }

  /// Nil when the dialogue has come to its end, which writes it.
  private func request(_ id: Int, _ dialogue: Dialogue) throws -> DecodingRequest? {
    if let messages = dialogue.nextMessages {
      let ids = try model.prompt(messages)
      if ids.count <= maxLength {
        open[id] = dialogue
        return DecodingRequest(
          id: id, prompt: ids, sampling: config.sampling.options(for: "answer \(dialogue.answers.count + 1) of \(dialogue.key)"),
          maxNewTokens: config.maxNewTokens)
      }
      counts.tooLong += 1
    }
    open[id] = nil
    if !dialogue.answers.isEmpty { try file.append(dialogue.line) }
    counts.conversations += 1
    return nil
  }

  /// Says which prompt cannot be answered.
  func failure(_ request: DecodingRequest, _ error: any Error) -> GenerationError {
    GenerationError("prompt \(open[request.id]?.key ?? "?"): \(error)")
  }

  /// Takes an answer; returns the question of the next turn.
  func finish(_ request: DecodingRequest, _ ids: [Int32]) throws -> DecodingRequest? {
    var dialogue = open[request.id]!
    let isCut = !model.stopIDs.contains(ids.last!)
    dialogue.answers.append(Dialogue.Answer(text: model.text(ids), isCut: isCut))
    counts.answers += 1
    counts.tokens += ids.count
    if isCut { counts.cut += 1 }
    if Repetition.endsInLoop(ids) { counts.looping += 1 }
    return try self.request(request.id, dialogue)
  }

}

/// A prompt and the answers so far.
private struct Dialogue {
  struct Answer {
    let text: String
    let isCut: Bool
  }

  let prompt: Prompt
  let key: String
  var answers: [Answer] = []

  init(prompt: Prompt) {
    self.prompt = prompt
    key = prompt.key
  }

  /// Everything up to the next user turn; nil when all turns are answered, or one was broken off.
  var nextMessages: [ChatMessage]? {
    guard answers.count < prompt.turns.count, answers.last?.isCut != true else { return nil }
    let past = zip(prompt.turns, answers).flatMap {
      [ChatMessage(role: .user, content: $0), ChatMessage(role: .assistant, content: $1.text)]
    }
    return system + past + [ChatMessage(role: .user, content: prompt.turns[answers.count])]
  }

  private var system: [ChatMessage] { prompt.system.map { [ChatMessage(role: .system, content: $0)] } ?? [] }

  var line: GeneratedFile.Line {
    typealias Message = GeneratedFile.Line.Message
    let turns = zip(prompt.turns, answers).flatMap {
      [Message(role: "user", content: $0), Message(role: "assistant", content: $1.text, cut: $1.isCut ? true : nil)]
    }
    return GeneratedFile.Line(
      id: prompt.id, key: key, conversations: system.map { Message(role: "system", content: $0.content) } + turns)
  }
}
