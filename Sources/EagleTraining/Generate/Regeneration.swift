import EagleCluster
import EagleDecoding
import EagleModels
import EagleStorage
import EagleTensor
import EagleText
import Foundation

/// Lets the target answer the user's turns of other conversations again, turn by turn, on all ranks.
///
/// A system message stays. An answer that is broken off at `max_new_tokens` ends its conversation and is marked. Which rank
/// answers does not change the texts; ranks take conversations as they get on.
public struct Regeneration {
  private let model: ChatModel
  private let config: RegenerateConfig
  private let precision: Precision
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let stop: StopRequest

  public init(
    model: ChatModel, precision: Precision, config: RegenerateConfig, cluster: any Communicator, progress: ProgressSink,
    stop: StopRequest = StopRequest()
  ) {
    self.model = model
    self.precision = precision
    self.config = config
    self.cluster = cluster
    self.progress = progress
    self.stop = stop
  }

  /// Answers what is not answered yet. Collective.
  ///
  /// - Throws: for input without prompts or with more than 1 % broken lines, and an output of other settings;
  ///   `StoppedRun` when a stop was asked for, with the finished conversations kept
  public func run() throws {
    var total = 0
    var stream = PromptStream(paths: config.input)
    while try stream.next() != nil { total += 1 }
    if cluster.isRoot { report(stream.reports) }
    let file = try GeneratedFile(
      output: config.output, stage: "regenerate", fingerprint: try fingerprint(), cluster: cluster)
    let work = Work(
      source: try PromptQueue(paths: config.input, known: file.known, cluster: cluster), file: file, model: model,
      config: config)
    let meter = GenerationMeter(stage: "regenerate", total: total, known: file.known.count, progress: progress)
    let generator = BatchGenerator(
      target: model.target, width: config.batch, stopIDs: model.stopIDs,
      promptProducts: precision == .bf16 ? .bf16 : .fp32)
    do {
      try generator.run(
        next: { try work.next() },
        finished: { request, ids in
          try stop.throwIfMade(during: "regenerate")
          let next = try work.finish(request, ids)
          meter.add(work.counts, begunByAll: work.begunByAll)
          return next
        })
    } catch is StoppedRun {}  // for all ranks to hear of, below
    try stop.throwIfAnyRankStops(cluster, during: "regenerate")
    var order = PromptStream(paths: config.input)
    let kept = try file.finish(others: true) { try order.next()?.id }
    let counts = try work.counts.sum(over: cluster)
    progress.finish("regenerate", "\(kept) of \(total) conversations in \(config.output)\(meter.summary(counts))")
  }

  private func report(_ reports: [ReadReport]) {
    for report in reports where report.skippedCount > 0 {
      let first = report.skipped[0]
      progress.say(
        "\(report.path): skipped \(report.skippedCount) lines, the first is line \(first.line): \(first.reason)")
    }
  }

  /// Of everything that an answer follows from. More input may come later.
  private func fingerprint() throws -> String {
    var same = config
    (same.input, same.output, same.batch) = ([], "", RegenerateConfig().batch)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    let parts = [
      "regenerate 1", String(decoding: try encoder.encode(same), as: UTF8.self), model.target.fingerprint,
      model.template.family.rawValue, precision.rawValue,
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
      // An id that comes twice is one conversation.
      guard seen.insert(prompt.id).inserted else { continue }
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
  private var open: [Int: Dialogue] = [:]
  private var begun = 0
  private(set) var counts = GenerationCounts()

  init(source: PromptQueue, file: GeneratedFile, model: ChatModel, config: RegenerateConfig) {
    self.source = source
    self.file = file
    self.model = model
    self.config = config
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
      if ids.count + config.maxNewTokens <= model.target.shape.maxPositions {
        open[id] = dialogue
        let turn = dialogue.answers.count + 1
        return DecodingRequest(
          id: id, prompt: ids, sampling: config.sampling("answer \(turn) of \(dialogue.prompt.id)"),
          maxNewTokens: config.maxNewTokens)
      }
      counts.tooLong += 1
    }
    open[id] = nil
    if !dialogue.answers.isEmpty { try file.append(dialogue.line) }
    counts.conversations += 1
    return nil
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
  var answers: [Answer] = []

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
      id: prompt.id, conversations: system.map { Message(role: "system", content: $0.content) } + turns)
  }
}
