import ArgumentParser
import EagleCore
import EagleStorage
import EagleTensor
import EagleTraining

@main
struct EagleRun: ParsableCommand {
  /// Libraries are asked for their versions only when somebody wants to know.
  static let configuration = CommandConfiguration(
    commandName: "eagle-run",
    abstract: "Decode with a target model, plainly or speculatively with an EAGLE-3 draft head.",
    version: CommandLine.arguments.contains("--version") ? Version.text(command: "eagle-run") : Version.number,
    subcommands: [Generate.self, Chat.self, Bench.self, Tune.self, Serve.self])

  static func main() {
    Parallel.boundWaiting()
    Program.run {
      var command = try parseAsRoot()
      try command.run()
    } report: {
      (fullMessage(for: $0), exitCode(for: $0).rawValue)
    }
  }

  /// Writes a result as JSON, whole or not at all.
  static func write(_ value: some Encodable, to path: String) throws {
    try AtomicFile.write(path: path, data: try json(value))
  }
}
