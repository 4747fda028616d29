import ArgumentParser
import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleText
import Foundation

struct Chat: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Chat with the target in the terminal; /help lists the commands.")

  @OptionGroup var models: ModelOptions

  @Option(help: "System prompt.")
  var system: String?

  @Option(help: "Maximum number of tokens per answer.")
  var maxTokens = 1024

  @Option(help: "Stop string; the answer ends before it. May be repeated.")
  var stop: [String] = []

  @OptionGroup var plan: PlanOptions

  @OptionGroup var sampling: SamplingArguments

  func validate() throws {
    guard maxTokens > 0 else { throw ValidationError("--max-tokens must be above 0") }
    guard !stop.contains("") else { throw ValidationError("--stop must not be empty") }
  }

  func run() throws {
    let (model, draft) = try models.load()
    let options = DecodingOptions(
      maxNewTokens: maxTokens, stopIDs: model.stopIDs, plan: try plan.plan(models, model, draft),
      sampling: try sampling.options(model))
    let talk = Talk(model: model, draft: draft, options: options, system: system, stops: stop)
    let isTerminal = isatty(STDIN_FILENO) == 1
    if isTerminal { Output.note("/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends the chat.") }
    Interrupt.install()
    var lines = InputLines()
    while true {
      if isTerminal { try Output.write("> ") }
      switch lines.next() {
      case .end: return try Output.write(isTerminal ? "\n" : "")
      case .interrupted: try Output.write("\n")
      case .garbled: Output.note("that line is not UTF-8 text")
      case .line(let line):
        guard try talk.take(line.trimmingCharacters(in: .whitespaces)) else { return }
      }
    }
  }
}

/// A conversation on the terminal.
private final class Talk {
  private let model: ChatModel
  private let session: DecodingSession
  private let isSpeculative: Bool
  private let options: DecodingOptions
  private let stops: [String]
  private let opening: [ChatMessage]
  private var messages: [ChatMessage]
  private var last: DecodingStatistics?
  private var total = DecodingStatistics()

  init(model: ChatModel, draft: DraftModel?, options: DecodingOptions, system: String?, stops: [String]) {
    self.model = model
    session = DecodingSession(target: model.target, draft: draft)
    isSpeculative = draft != nil
    self.options = options
    self.stops = stops
    opening = system.map { [ChatMessage(role: .system, content: $0)] } ?? []
    messages = opening
  }

  /// Executes a line of input. False ends the program.
  func take(_ line: String) throws -> Bool {
    switch line {
    case "": break
    case "/exit", "/quit": return false
    case "/reset":
      messages = opening
      session.reset()
      Output.note("a new conversation")
    case "/stats": showStatistics()
    case "/help": Output.note("/reset begins a new conversation, /stats shows speeds and acceptance, /exit ends")
    case _ where line.hasPrefix("/"): Output.note("there is no command \(line); /help lists them")
    default: try answer(line)
    }
    return true
  }

  /// Answers a line. An answer that Ctrl-C stops stays in the conversation up to that point.
  ///
  /// - Throws: `OutputError`; other errors are reported, and the conversation continues without the line
  private func answer(_ line: String) throws {
    messages.append(ChatMessage(role: .user, content: line))
    do {
      _ = Interrupt.take()
      let (text, generation) = try generate(try model.prompt(messages))
      if generation.ids.isEmpty {
        messages.removeLast()
        return Output.note("stopped before the answer began; the line is not part of the conversation")
      }
      messages.append(ChatMessage(role: .assistant, content: text))
      last = generation.statistics
      total += generation.statistics
    } catch let error as OutputError {
      throw error
    } catch {
      messages.removeLast()
      Output.note("error: \(error)")
    }
  }

  /// Prints the answer to a prompt while it is generated, until its end or Ctrl-C.
  private func generate(_ prompt: [Int32]) throws -> (text: String, generation: Generation) {
    var stream = StreamingDetokenizer(model.tokenizer, stops: stops)
    let printer = AnswerPrinter()
    let tokens = try session.tokens(prompt, try limited(options, prompt: prompt))
    tokens.prefill { !Interrupt.isPending }
    while let token = try tokens.next() {
      let isPrinted = printer.append(stream.append(token.id))
      if stream.isStopped {
        tokens.stop(.stopString)
      } else if !isPrinted || Interrupt.isPending {
        tokens.stop(.cancelled)
      }
    }
    let generation = try tokens.finish()
    _ = Interrupt.take()
    printer.append(stream.finish())
    try printer.finish()
    return (printer.text, generation)
  }

  /// The options with as many new tokens as the model's positions allow.
  private func limited(_ options: DecodingOptions, prompt: [Int32]) throws -> DecodingOptions {
    let positions = model.target.shape.maxPositions
    guard prompt.count < positions else {
      throw GenerationError(
        "the conversation has \(prompt.count) tokens and the model \(positions) positions: /reset begins a new one")
    }
    var options = options
    options.maxNewTokens = min(options.maxNewTokens, positions - prompt.count)
    return options
  }

  private func showStatistics() {
    guard let last else { return Output.note("nothing has been said yet") }
    Output.note("last answer: \(summary(last, isSpeculative: isSpeculative)); \(prompt(last))")
    Output.note("all answers: \(summary(total, isSpeculative: isSpeculative)); \(prompt(total))")
    let parts = [("draft", total.draftSeconds), ("target", total.targetSeconds), ("choice", total.choiceSeconds)]
    Output.note(
      "seconds: "
        + ([("prompts", total.promptSeconds)] + parts).map { String(format: "\($0.0) %.2f", $0.1) }.joined(
          separator: ", "))
    if isSpeculative {
      let positions = total.acceptanceByPosition.map { String(format: "%.2f", $0) }.joined(separator: " ")
      Output.note("acceptance by position: \(positions)")
    }
  }

  private func prompt(_ statistics: DecodingStatistics) -> String {
    "\(statistics.promptTokens) prompt tokens, \(statistics.cachedTokens) of them in the cache"
  }
}
