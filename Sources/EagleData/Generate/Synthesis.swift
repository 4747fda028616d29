import EagleChat
import EagleCluster
import EagleCore
import EagleDecoding
import EagleStorage
import EagleTensor
import EagleText
import Foundation

/// Conversations from nothing: the target gets no more than the beginning of a user's turn, writes the question itself
/// and answers it (Magpie, arXiv 2406.08464).
///
/// Attempts are numbered, and each is drawn with a seed of its own. The output is the first attempts that pass the
/// filters, in their order; ranks and stops change nothing, but for draws that fall between two tokens to within
/// rounding.
public struct Synthesis {
  private let model: ChatModel
  private let config: SynthesizeConfig
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let stop: StopRequest

  public init(
    model: ChatModel, config: SynthesizeConfig, cluster: any Communicator, progress: ProgressSink,
    stop: StopRequest = StopRequest()
  ) {
    self.model = model
    self.config = config
    self.cluster = cluster
    self.progress = progress
    self.stop = stop
  }

  /// Makes what is missing. Collective.
  ///
  /// - Throws: for an output of other settings, and for a target of whose attempts hardly one passes; `StoppedRun` when
  ///   a stop was asked for, with the finished attempts kept
  public func run() throws {
    try checkOpenings()
    try cluster.agree(on: try model.textFingerprint(), about: "the tokenizer of \(model.target.path)")
    let origin = GeneratedFile.Origin(stage: "synthesize", fingerprint: try fingerprint())
    let made = try cluster.isRoot ? GeneratedFile.finished(config.output, origin)?.count ?? 0 : 0
    if try cluster.anyTrue(made >= config.conversations) {
      return progress.finish("synthesize", "up to date: \(made) conversations in \(config.output)")
    }
    let file = try GeneratedFile(output: config.output, origin: origin, cluster: cluster)
    let meter = GenerationMeter(stage: "synthesize", total: config.conversations, progress: progress)
    var (round, counts) = (SynthesisRound(attempts: 0, kept: []), GenerationCounts())
    // Of an earlier run that was stopped, for the meter alone.
    var before = cluster.isRoot ? try SynthesisRound(attempts: .max, file).kept.count : 0
    while round.kept.count < config.conversations {
      let last = round.attempts + round.attemptsNeeded(for: config.conversations)
      let work = AttemptQueue(
        try tickets(round.attempts..<last, known: file.known), file: file, model: model, config: config)
      try attempt(work, file, before, meter)
      counts = counts + work.counts
      round = try shared(round: last, file)
      before = round.kept.count
      if round.isHopeless { throw hopeless(round) }
    }
    let kept = Array(round.kept.prefix(config.conversations))
    var order = kept[...]
    // What passes beyond the wish is made again when more is wished for.
    try file.finish(others: false) { order.popFirst() }
    progress.finish(
      "synthesize",
      "\(kept.count) of \(round.attempts) attempts in \(config.output)"
        + meter.summary(try counts.sum(over: cluster)) + round.describeRejected)
  }

  private func attempt(_ work: AttemptQueue, _ file: GeneratedFile, _ before: Int, _ meter: GenerationMeter) throws {
    let generator = BatchGenerator(target: model.target, width: config.batch, stopIDs: model.stopIDs)
    do {
      try generator.run(
        next: { try work.next() },
        finished: { request, ids in
          let next = try work.finish(request, ids)
          meter.note(work.counts, done: before + work.counts.conversations * cluster.size)
          return next
        },
        passed: {
          cluster.tick()
          try file.throwIfStopped(stop, during: "synthesize")
        })
    } catch is StoppedRun {}  // for all ranks to hear of, below
    try stop.throwIfAnyRankStops(cluster, during: "synthesize")
  }

  private func checkOpenings() throws {
    for opening in config.openings {
      let prompt = try model.template.questionPrompt([], opening: opening, tokenizer: model.tokenizer)
      guard prompt.count + config.questionTokens <= model.target.shape.maxPositions else {
        throw LocatedError(
          path: "synthesize.openings", problem: "\"\(opening.prefix(40))…\" leaves no room for question_tokens",
          advice: "the target has \(model.target.shape.maxPositions) positions")
      }
    }
  }

  /// Attempts of a range that this rank may take, one after another.
  private func tickets(_ range: Range<Int>, known: Set<String>) throws -> () throws -> Int? {
    let missing = range.filter { !known.contains(Attempt.id($0)) }
    let draw = try cluster.tickets()
    return {
      let ticket = try draw()
      return ticket < missing.count ? missing[ticket] : nil
    }
  }

  /// What has passed of the first `attempts`; rank 0 looks, all get the same.
  private func shared(round attempts: Int, _ file: GeneratedFile) throws -> SynthesisRound {
    try cluster.barrier()
    let mine = cluster.isRoot ? try JSONEncoder().encode(try SynthesisRound(attempts: attempts, file)) : Data()
    return try JSONDecoder().decode(SynthesisRound.self, from: try cluster.broadcast(data: mine))
  }

  private func hopeless(_ round: SynthesisRound) -> LocatedError {
    LocatedError(
      path: model.target.path,
      problem: "of \(round.attempts) attempts \(round.kept.count) make a conversation\(round.describeRejected)",
      advice: "change synthesize.openings or question_temperature, or take a target that was trained to chat")
  }

  /// Of everything that the conversations follow from.
  private func fingerprint() throws -> String {
    var same = config
    (same.output, same.batch, same.conversations) = ("", SynthesizeConfig().batch, 0)
    let parts = [
      "synthesize 2", try JSONStyle.compactEscaped.text(same), model.target.fingerprint,
      model.template.family.rawValue, model.target.precision.rawValue,
    ]
    return FileDigest.sha256(Data(parts.joined(separator: "\n").utf8))
  }
}

/// What the first attempts have come to.
private struct SynthesisRound: Codable {
  let attempts: Int
  /// Ids of those that pass, in order.
  var kept: [String]
  /// The others, by reason.
  var rejected: [String: Int] = [:]

  init(attempts: Int, kept: [String]) {
    self.attempts = attempts
    self.kept = kept
  }

  init(attempts: Int, _ file: GeneratedFile) throws {
    self.init(attempts: attempts, kept: [])
    var questions: [Int: String] = [:]
    try file.readAll { line in
      guard let number = Attempt.number(line.id), number < attempts else { return }
      if let reason = line.rejected {
        rejected[reason, default: 0] += 1
      } else {
        questions[number] = line.conversations.first { $0.role == "user" }?.content ?? ""
      }
    }
    var seen = NearDuplicates()
    for (number, question) in questions.sorted(by: { $0.key < $1.key }) {
      if seen.insert(question) {
        kept.append(Attempt.id(number))
      } else {
        rejected["like an earlier one", default: 0] += 1
      }
    }
  }

  /// As many as will do at the rate so far, and a tenth more.
  func attemptsNeeded(for wanted: Int) -> Int {
    let rate = attempts == 0 ? 0.8 : max(0.02, Double(kept.count) / Double(attempts))
    return Int((Double(wanted - kept.count) / rate * 1.1).rounded(.up))
  }

  var isHopeless: Bool { attempts >= 50 && kept.count * 50 < attempts }

  var describeRejected: String {
    let reasons = rejected.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) \($0.key)" }
    return reasons.isEmpty ? "" : "; dropped: \(reasons.joined(separator: ", "))"
  }
}

/// One conversation in the making.
private struct Attempt {
  static func id(_ number: Int) -> String { "synthetic-\(number)" }
  static func number(_ id: String) -> Int? { id.hasPrefix("synthetic-") ? Int(id.dropFirst(10)) : nil }

  let number: Int
  let turns: Int
  var messages: [ChatMessage] = []
  var isAnswering = false

  var id: String { Self.id(number) }

  init(number: Int, _ config: SynthesizeConfig) {
    self.number = number
    var random = RandomSource(seed: config.sampling.seed, purpose: "turns of \(Self.id(number))")
    turns = 1 + Int(random.next() % UInt64(config.turns))
  }

  /// What the user's turn begins with; only the first is given.
  func opening(_ config: SynthesizeConfig) -> String {
    messages.isEmpty ? config.openings[number % config.openings.count] : ""
  }

  func line(rejected: String? = nil) -> GeneratedFile.Line {
    GeneratedFile.Line(
      id: id,
      conversations: messages.map {
        .init(role: $0.role.rawValue, content: $0.content, cut: $0.isCut ? true : nil)
      }, rejected: rejected)
  }
}

/// The attempts that one rank has in hand.
private final class AttemptQueue {
  private let draw: () throws -> Int?
  private let file: GeneratedFile
  private let model: ChatModel
  private let config: SynthesizeConfig
  private var open: [Int: Attempt] = [:]
  private(set) var counts = GenerationCounts()

  init(_ draw: @escaping () throws -> Int?, file: GeneratedFile, model: ChatModel, config: SynthesizeConfig) {
    self.draw = draw
    self.file = file
    self.model = model
    self.config = config
  }

  func next() throws -> DecodingRequest? {
    while let number = try draw() {
      if let request = try request(Attempt(number: number, config)) { return request }
    }
    return nil
  }

  /// The next question or answer of an attempt; nil when it has all its turns, which writes it.
  private func request(_ attempt: Attempt) throws -> DecodingRequest? {
    if !attempt.isAnswering, attempt.messages.count >= 2 * attempt.turns || attempt.messages.last?.isCut == true {
      return try end(attempt)
    }
    let turn = "\(attempt.messages.count) of \(attempt.id)"
    let prompt: [Int32]
    if attempt.isAnswering {
      prompt = try model.prompt(attempt.messages)
    } else {
      prompt = try model.template.questionPrompt(
        attempt.messages, opening: attempt.opening(config), tokenizer: model.tokenizer)
    }
    let most = attempt.isAnswering ? config.maxNewTokens : config.questionTokens
    guard prompt.count + most <= model.target.shape.maxPositions else { return try end(attempt, "too long") }
    open[attempt.number] = attempt
    return DecodingRequest(
      id: attempt.number, prompt: prompt,
      sampling: (attempt.isAnswering ? config.sampling : config.questionSampling).options(for: turn), maxNewTokens: most)
  }

  func finish(_ request: DecodingRequest, _ ids: [Int32]) throws -> DecodingRequest? {
    var attempt = open.removeValue(forKey: request.id)!
    counts.answers += 1
    counts.tokens += ids.count
    let isCut = !model.stopIDs.contains(ids.last!)
    let text = model.text(ids)
    if let reason = Self.fault(ids, isCut: isCut && !attempt.isAnswering, text) { return try end(attempt, reason) }
    if attempt.isAnswering {
      if isCut { counts.cut += 1 }
      attempt.messages.append(ChatMessage(role: .assistant, content: text, isCut: isCut))
    } else {
      let question = (attempt.opening(config) + text).trimmingCharacters(in: .whitespacesAndNewlines)
      if Words.of(question).count < 3 { return try end(attempt, "empty talk") }
      attempt.messages.append(ChatMessage(role: .user, content: question))
    }
    attempt.isAnswering.toggle()
    return try self.request(attempt)
  }

  /// Why a question or an answer is no good.
  private static func fault(_ ids: [Int32], isCut: Bool, _ text: String) -> String? {
    if Repetition.endsInLoop(ids) || Repetition.endsInLoop(ids.dropLast()) { return "looping" }
    if isCut { return "questions without an end" }
    return Words.of(text).isEmpty ? "empty talk" : nil
  }

  /// Writes the attempt: as far as it has answers, or as one that came to nothing.
  private func end(_ attempt: Attempt, _ fault: String? = nil) throws -> DecodingRequest? {
    var whole = attempt
    if whole.messages.last?.role == .user { whole.messages.removeLast() }
    if fault == "looping" { counts.looping += 1 }
    counts.conversations += whole.messages.isEmpty ? 0 : 1
    try file.append(whole.line(rejected: whole.messages.isEmpty ? fault : nil))
    return nil
  }
}
