import ArgumentParser
import EagleTensor

@main
struct EagleTrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eagle-train",
    abstract: "Train EAGLE-3 draft heads on CPUs: alone, or over MPI with mpirun or srun.",
    subcommands: [
      Import.self, Regenerate.self, Synthesize.self, Prepare.self, Capture.self, Train.self, Evaluate.self, Export.self,
      Run.self,
      Inspect.self, Report.self,
      Bench.self, Plan.self,
    ])

  static func main() {
    Parallel.boundWaiting()
    main(nil)
  }
}
