import ArgumentParser
import EagleCore
import EagleRun
import Foundation

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the contents of a safetensors file, GGUF file, capture shard, checkpoint or recipe.")

  @Argument(help: "File or folder to inspect.")
  var path: String

  func run() throws {
    try Output.write(try Inspection.lines(of: path).joined(separator: "\n") + "\n")
  }
}
