import ArgumentParser
import EagleDecoding
import EagleText
import EagleTraining
import Foundation

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Answer one prompt; the text streams to standard output.")

  @OptionGroup var models: ModelOptions

  @Option(help: "The user's message.")
  var prompt: String

  @Option(help: "Most tokens to generate.")
  var maxTokens = 256

  @Option(help: "Tokens that the draft proposes in each round.")
  var draftLength = 3

  @Flag(help: "Print one JSON object in place of the text.")
  var json = false

  func validate() throws {
    guard maxTokens > 0 else { throw ValidationError("--max-tokens must be above 0") }
    guard draftLength > 0 else { throw ValidationError("--draft-length must be above 0") }
  }

  func run() throws {
    let (model, draft) = try models.load()
    let ids = try model.prompt([ChatMessage(role: .user, content: prompt)])
    let options = DecodingOptions(maxNewTokens: maxTokens, stopIDs: model.stopIDs, plan: .chain(draftLength))
    var decoder = model.tokenizer.makeStreamingDecoder(skipSpecial: true)
    let isStreaming = !json
    let generation = try Generator(target: model.target, draft: draft).generate(ids, options) { token in
      if isStreaming { write(decoder.append(token)) }
      return true
    }
    if json { return try printJSON(Answered(model.text(generation.ids), generation, promptTokens: ids.count)) }
    write(decoder.finish() + "\n")
    report(generation.statistics, isSpeculative: draft != nil)
  }

  private func report(_ statistics: DecodingStatistics, isSpeculative: Bool) {
    var line = String(format: "%d tokens, %.1f tokens/s", statistics.newTokens, statistics.tokensPerSecond)
    if isSpeculative { line += String(format: ", acc_length %.2f", statistics.acceptanceLength) }
    FileHandle.standardError.write(Data("\(line)\n".utf8))
  }
}

/// Writes text to standard output at once.
func write(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }

func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  write(String(decoding: try encoder.encode(value), as: UTF8.self) + "\n")
}

private struct Answered: Encodable {
  let text: String
  let tokens: [Int32]
  let prompt_tokens: Int
  let new_tokens: Int
  let acc_length: Double
  let acceptance_by_position: [Double]
  let tokens_per_second: Double

  init(_ text: String, _ generation: Generation, promptTokens: Int) {
    self.text = text
    tokens = generation.ids
    prompt_tokens = promptTokens
    new_tokens = generation.ids.count
    acc_length = generation.statistics.acceptanceLength
    acceptance_by_position = generation.statistics.acceptanceByPosition
    tokens_per_second = generation.statistics.tokensPerSecond
  }
}
