import ArgumentParser
import EagleCore
import EagleTensor
import EagleTraining

@main
struct EagleTrain: ParsableCommand {
  /// Libraries are asked for their versions only when somebody wants to know.
  static let configuration = CommandConfiguration(
    commandName: "eagle-train",
    abstract: "Train EAGLE-3 draft heads on CPUs: alone, or over MPI with mpirun or srun.",
    version: CommandLine.arguments.contains("--version") ? Version.text(command: "eagle-train") : Version.number,
    subcommands: [
      Import.self, Regenerate.self, Synthesize.self, Prepare.self, Capture.self, Train.self, Evaluate.self, Export.self,
      Run.self,
      Inspect.self, Report.self,
      Bench.self, Plan.self,
    ])

  static func main() {
    Parallel.boundWaiting()
    Program.run {
      var command = try parseAsRoot()
      try command.run()
    } report: {
      (fullMessage(for: $0), exitCode(for: $0).rawValue)
    }
  }
}
