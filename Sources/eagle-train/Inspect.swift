import ArgumentParser
import EagleRecipe
import EagleStorage
import Foundation

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what a safetensors file, GGUF file, capture shard, checkpoint or recipe holds.")

  @Argument(help: "File or folder.")
  var path: String

  func run() throws {
    let lines = try Inspection.lines(of: path)
    FileHandle.standardOutput.write(Data((lines.joined(separator: "\n") + "\n").utf8))
  }
}
