import ArgumentParser
import EagleModels
import Foundation

struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Turn a GGUF model into a Hugging Face folder (bf16).")

  @Argument(help: "The GGUF file.")
  var model: String

  @Option(help: "Folder to write.")
  var output: String

  func run() throws {
    try GGUFImport.run(gguf: model, output: output) { FileHandle.standardError.write(Data("\($0)\n".utf8)) }
  }
}
