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
      // One line for each of hundreds of tensors is for a terminal's changing line only.
      if line.hasPrefix("weights ") { progress.show(passing: line) } else { progress.say(line) }
    }
  }
}
