import ArgumentParser
import EagleCluster
import EagleCore
import EagleTensor
import EagleText

@main
struct EagleRun: ParsableCommand {
  /// The versions of the libraries are queried only for `--version`.
  static let configuration = CommandConfiguration(
    commandName: "eagle-run",
    abstract: "Decode with a target model, plainly or speculatively with a draft head.",
    version: CommandLine.arguments.contains("--version") ? version : Version.number,
    subcommands: [Generate.self, Chat.self, Bench.self, Tune.self, Serve.self, Render.self])

  private static var version: String {
    let rows =
      NumericLibraries.versions + TextLibraries.versions + NumericLibraries.capabilities
    return Version.text(command: "eagle-run", rows)
  }

  static func main() {
    Parallel.boundWaiting()
    Program.run {
      var command = try parseAsRoot()
      Parallel.threadCount = try Cluster.defaultThreads(for: SoloCommunicator())
      try command.run()
    } report: {
      (fullMessage(for: $0), exitCode(for: $0).rawValue)
    }
  }

  /// Writes a result as JSON, atomically.
  static func write(_ value: some Encodable, to path: String) throws {
    try AtomicFile.writeJSON(value, to: path, style: .indented)
  }
}
