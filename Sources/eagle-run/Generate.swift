import ArgumentParser
import EagleCore
import EagleDecoding
import EagleRunFiles
import EagleText
import Foundation

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Answer one prompt and stream the text to standard output.")

  @OptionGroup var models: ModelOptions

  @Option(help: "User message. Without --prompt and --prompt-file it is read from standard input.")
  var prompt: String?

  @Option(help: "File that contains the user message.")
  var promptFile: String?

  @Option(help: "System prompt.")
  var system: String?

  @Option(help: "Maximum number of tokens to generate.")
  var maxTokens = 256

  @Option(help: "Stop string; the text ends before it. May be repeated.")
  var stop: [String] = []

  @OptionGroup var plan: PlanOptions

  @OptionGroup var sampling: SamplingArguments

  @Flag(help: "Print one JSON object instead of the text.")
  var json = false

  func validate() throws {
    guard maxTokens > 0 else { throw ValidationError("--max-tokens must be above 0") }
    guard prompt == nil || promptFile == nil else { throw ValidationError("give --prompt or --prompt-file, not both") }
    guard !stop.contains("") else { throw ValidationError("--stop must not be empty") }
  }

  func run() throws {
    let message = try readPrompt()
    let (model, draft) = try models.load()
    let ids = try model.prompt(ChatMessage.turn(system: system, user: message))
    let options = DecodingOptions(
      maxNewTokens: maxTokens, stopIDs: model.stopIDs, plan: try plan.plan(models, model, draft),
      sampling: try sampling.options(model))
    var stream = StreamingDetokenizer(model.tokenizer, stops: stop)
    let printer = AnswerPrinter(isSilent: json)
    let tokens = try DecodingSession(target: model.target, draft: draft).tokens(ids, options)
    while let token = try tokens.next() {
      let isPrinted = printer.append(stream.append(token.id))
      if stream.isStopped {
        tokens.stop(.stopString)
      } else if !isPrinted {
        tokens.stop(.cancelled)
      }
    }
    let generation = try tokens.finish()
    printer.append(stream.finish())
    try printer.finish()
    if json { return try printJSON(Answered(printer.text, generation, options)) }
    Output.note(summary(generation.statistics, isSpeculative: draft != nil))
  }

  private func readPrompt() throws -> String {
    let (source, data) = try promptBytes()
    guard let text = String(validating: data, as: UTF8.self) else {
      throw TextError("\(source): the prompt is not UTF-8 text; convert it first")
    }
    guard !text.allSatisfy(\.isWhitespace) else { throw TextError("\(source): the prompt is empty") }
    return text
  }

  private func promptBytes() throws -> (source: String, bytes: Data) {
    if let prompt { return ("--prompt", Data(prompt.utf8)) }
    guard let promptFile else {
      return ("standard input", try FileHandle.standardInput.readToEnd() ?? Data())
    }
    guard let data = FileManager.default.contents(atPath: promptFile) else {
      throw TextError("\(promptFile): cannot be opened for reading; check the path and its permissions")
    }
    return (promptFile, data)
  }
}

extension ChatMessage {
  /// A user's message after the system message, if there is one.
  static func turn(system: String?, user: String) -> [ChatMessage] {
    (system.map { [ChatMessage(role: .system, content: $0)] } ?? []) + [ChatMessage(role: .user, content: user)]
  }
}

/// Writes a text to standard output as it is generated.
final class AnswerPrinter {
  /// The text so far.
  private(set) var text = ""
  private let isSilent: Bool
  private var failure: (any Error)?

  /// - Parameter isSilent: whether the text is only collected
  init(isSilent: Bool = false) { self.isSilent = isSilent }

  /// Writes more of the text. False after a failed write; nothing more is written then.
  @discardableResult
  func append(_ delta: String) -> Bool {
    text += delta
    if isSilent || failure != nil { return failure == nil }
    do { try Output.write(delta) } catch { failure = error }
    return failure == nil
  }

  /// Ends the line.
  ///
  /// - Throws: the error of the first write that failed
  func finish() throws {
    if let failure { throw failure }
    if !isSilent { try Output.write("\n") }
  }
}

/// One line about what was generated.
func summary(_ statistics: DecodingStatistics, isSpeculative: Bool) -> String {
  let line = String(format: "%d tokens, %.1f tokens/s", statistics.newTokens, statistics.tokensPerSecond)
  return isSpeculative ? line + String(format: ", acc_length %.2f", statistics.acceptanceLength) : line
}

private struct Answered: Encodable {
  let text: String
  let tokens: [Int32]
  /// `length`, or `stop` for everything else.
  let finish_reason: FinishReason
  let prompt_tokens: Int
  let new_tokens: Int
  let acc_length: Double
  let acceptance_by_position: [Double]
  let tokens_per_second: Double
  let seed: UInt64
  let counts: DecodingStatistics

  init(_ text: String, _ generation: Generation, _ options: DecodingOptions) {
    self.text = text
    let statistics = generation.statistics
    tokens = generation.ids
    finish_reason = generation.finish == .length ? .length : .stop
    prompt_tokens = statistics.promptTokens
    new_tokens = statistics.newTokens
    acc_length = statistics.acceptanceLength
    acceptance_by_position = statistics.acceptanceByPosition
    tokens_per_second = statistics.tokensPerSecond
    seed = options.sampling.seed
    counts = statistics
  }
}
