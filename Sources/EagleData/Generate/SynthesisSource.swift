import EagleChat
import EagleDecoding
import EagleText
import Foundation

/// The attempts that one rank makes: questions and answers in turn, all by the target.
final class SynthesisSource: DialogueSource {
  private let nextNumber: () throws -> Int?
  private let file: GeneratedFile
  private let format: ChatFormat
  private let config: SynthesizeConfig
  private let finishedBefore: Int
  private let ranks: Int
  /// Attempts in progress, by the id of their requests.
  private var open: [Int: Attempt] = [:]
  private(set) var counts = GenerationCounts()

  /// - Parameters:
  ///   - finishedBefore: conversations that all ranks had finished before these
  ///   - ranks: how many ranks make attempts beside each other
  ///   - nextNumber: the number of the next attempt for this rank; nil when there are no more
  init(
    file: GeneratedFile, format: ChatFormat, config: SynthesizeConfig, finishedBefore: Int, ranks: Int,
    nextNumber: @escaping () throws -> Int?
  ) {
    self.file = file
    self.format = format
    self.config = config
    self.finishedBefore = finishedBefore
    self.ranks = ranks
    self.nextNumber = nextNumber
  }

  /// An estimate: other ranks are as fast as this one.
  var finishedByAll: Int { finishedBefore + counts.conversations * ranks }

  func next() throws -> DialogueRequest? {
    while let number = try nextNumber() {
      if let request = try request(Attempt(number: number, config)) { return request }
    }
    return nil
  }

  /// The next question or answer of an attempt; nil when it has all its turns, which writes it.
  private func request(_ attempt: Attempt) throws -> DialogueRequest? {
    if attempt.isComplete { return try end(attempt) }
    let prompt = try prompt(attempt)
    let longest = attempt.isAnswering ? config.maxNewTokens : config.questionTokens
    guard prompt.count + longest <= format.shape.maxPositions else {
      return try end(attempt, because: "too long")
    }
    open[attempt.number] = attempt
    let sampling = attempt.isAnswering ? config.sampling : config.questionSampling
    return DialogueRequest(
      id: attempt.number, kind: attempt.isAnswering ? .answer(attempt.messages, tools: []) : .question, prompt: prompt,
      sampling: sampling.options(for: "\(attempt.messages.count) of \(attempt.id)"), maxNewTokens: longest)
  }

  private func prompt(_ attempt: Attempt) throws -> [Int32] {
    if attempt.isAnswering { return try format.prompt(attempt.messages) }
    return try format.template.questionPrompt(
      attempt.messages, opening: attempt.opening(config), tokenizer: format.tokenizer)
  }

  func take(_ written: GeneratedText, for request: DialogueRequest) throws -> DialogueRequest? {
    var attempt = close(request)
    counts.add(written)
    if let reason = Self.fault(written, isAnswer: attempt.isAnswering) { return try end(attempt, because: reason) }
    if attempt.isAnswering {
      if written.isCut { counts.cut += 1 }
      attempt.messages.append(written.message)
    } else {
      let question = (attempt.opening(config) + written.text).trimmingCharacters(in: .whitespacesAndNewlines)
      if Words.of(question).count < 3 { return try end(attempt, because: "empty talk") }
      attempt.messages.append(ChatMessage(role: .user, content: question))
    }
    attempt.isAnswering.toggle()
    return try self.request(attempt)
  }

  func abandon(_ request: DialogueRequest, isFinal: Bool) throws {
    let attempt = close(request)
    guard isFinal else {
      counts.failed += 1
      return
    }
    counts.refused += 1
    _ = try end(attempt, because: "refused by the server")
  }

  private func close(_ request: DialogueRequest) -> Attempt {
    guard let attempt = open.removeValue(forKey: request.id) else {
      preconditionFailure("request \(request.id) is none of \(open.count) open ones")
    }
    return attempt
  }

  func failure(of request: DialogueRequest, _ error: any Error) -> any Error { error }

  /// Why a question or an answer is no good.
  private static func fault(_ written: GeneratedText, isAnswer: Bool) -> String? {
    if Repetition.endsInLoop(written.ids) || Repetition.endsInLoop(written.ids.dropLast()) { return "looping" }
    if written.isCut && !isAnswer { return "questions without an end" }
    return Words.of(written.text).isEmpty ? "empty talk" : nil
  }

  /// Writes the attempt as far as it has answers, or as rejected where it has none.
  private func end(_ attempt: Attempt, because fault: String? = nil) throws -> DialogueRequest? {
    var whole = attempt
    if whole.messages.last?.role == .user { whole.messages.removeLast() }
    if fault == "looping" { counts.looping += 1 }
    counts.conversations += whole.messages.isEmpty ? 0 : 1
    try file.append(whole.line(rejected: whole.messages.isEmpty ? fault : nil))
    return nil
  }
}
