import ArgumentParser
import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleMPI
import EagleTensor
import EagleText

@main
struct EagleTrain: ParsableCommand {
  /// The versions of the libraries are queried only for `--version`.
  static let configuration = CommandConfiguration(
    commandName: "eagle-train",
    abstract: "Train EAGLE-3, DFlash and DSpark draft heads on CPUs, alone or over MPI with mpirun or srun.",
    version: CommandLine.arguments.contains("--version") ? version : Version.number,
    subcommands: [
      Import.self, Regenerate.self, Synthesize.self, Prepare.self, Capture.self, Train.self, Evaluate.self, Export.self,
      Run.self,
      Inspect.self, Report.self, Compare.self,
      Bench.self, Plan.self,
    ])

  private static var version: String {
    let rows =
      NumericLibraries.versions + [("HDF5", HDF5Library.version), ("MPI", Cluster.library)] + TextLibraries.versions
      + NumericLibraries.capabilities
    return Version.text(command: "eagle-train", rows)
  }

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
