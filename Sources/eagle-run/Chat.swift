import ArgumentParser
import EagleDecoding
import EagleModels
import EagleText
import EagleTraining
import Foundation

struct Chat: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Talk with the target, turn by turn; /help lists what else a line can say.")

  @OptionGroup var models: ModelOptions

  @Option(help: "What the system turn says.")
  var system: String?

  @Option(help: "Most tokens of an answer.")
  var maxTokens = 1024

  @Option(help: "End an answer before this string; can be given several times.")
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
      sampling: sampling.options)
    let talk = Talk(model: model, draft: draft, options: options, system: system, stops: stop)
    let isTerminal = isatty(STDIN_FILENO) == 1
    if isTerminal { note("/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends.") }
    Interrupt.install()
    var lines = InputLines()
    while true {
      if isTerminal { write("> ") }
      switch lines.next() {
      case .end: return isTerminal ? write("\n") : ()
      case .interrupted: write("\n")
      case .garbled: note("that line is not UTF-8 text")
      case .line(let line):
        guard talk.take(line.trimmingCharacters(in: .whitespaces)) else { return }
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

  /// Does what a line says. False ends the program.
  func take(_ line: String) -> Bool {
    switch line {
    case "": break
    case "/exit", "/quit": return false
    case "/reset":
      messages = opening
      session.reset()
      note("a new conversation")
    case "/stats": showStatistics()
    case "/help": note("/reset begins a new conversation, /stats shows speeds and acceptance, /exit ends")
    case _ where line.hasPrefix("/"): note("there is no command \(line); /help lists them")
    default: answer(line)
    }
    return true
  }

  /// An answer that Ctrl-C stops stays in the conversation as far as it came.
  private func answer(_ line: String) {
    messages.append(ChatMessage(role: .user, content: line))
    do {
      let ids = try model.prompt(messages)
      var options = options
      let room = model.target.shape.maxPositions - ids.count
      guard room > 0 else {
        throw EagleDecoding.DecodingError(
          "the conversation has \(ids.count) tokens and the model \(model.target.shape.maxPositions) positions: /reset "
            + "begins a new one")
      }
      options.maxNewTokens = min(options.maxNewTokens, room)
      _ = Interrupt.take()
      var (stream, text) = (AnswerStream(model.tokenizer, stops: stops), "")
      func emit(_ piece: String) {
        write(piece)
        text += piece
      }
      let generation = try session.generate(ids, options) { token in
        emit(stream.append(token))
        return !stream.isStopped && !Interrupt.take()
      }
      emit(stream.finish())
      write("\n")
      messages.append(ChatMessage(role: .assistant, content: text))
      last = generation.statistics
      total += generation.statistics
    } catch {
      messages.removeLast()
      note("error: \(error)")
    }
  }

  private func showStatistics() {
    guard let last else { return note("nothing has been said yet") }
    note("last answer: \(summary(last, isSpeculative: isSpeculative)); \(prompt(last))")
    note("all answers: \(summary(total, isSpeculative: isSpeculative)); \(prompt(total))")
    let shares = [("draft", total.draftSeconds), ("target", total.targetSeconds), ("choice", total.choiceSeconds)]
    note(
      "seconds: "
        + ([("prompts", total.promptSeconds)] + shares).map { String(format: "\($0.0) %.2f", $0.1) }.joined(
          separator: ", "))
    if isSpeculative {
      let positions = total.acceptanceByPosition.map { String(format: "%.2f", $0) }.joined(separator: " ")
      note("acceptance by position: \(positions)")
    }
  }

  private func prompt(_ statistics: DecodingStatistics) -> String {
    "\(statistics.promptTokens) prompt tokens, \(statistics.cachedTokens) of them in the cache"
  }
}
