import ArgumentParser
import EagleChat
import Foundation

struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Convert a GGUF model to a Hugging Face folder (bf16).")

  @Argument(help: "GGUF file to convert.")
  var model: String

  @Option(help: "Output folder.")
  var output: String

  func run() throws {
    let progress = TerminalProgress()
    try GGUFImport.run(gguf: model, output: output) { line in
      // Lines for hundreds of tensors are shown only in the changing line of a terminal.
      if line.hasPrefix("weights ") { progress.show(passing: line) } else { progress.say(line) }
    }
  }
}
