import Foundation

/// Runs lines of a page in a shell that finds the built programs.
enum Shell {
  static let environment = [
    "PATH": "\(Command.binaries):\(ProcessInfo.processInfo.environment["PATH"] ?? "")",
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
  ]

  /// Runs a script in the folder of a world, and stops at the first command that fails.
  static func run(_ script: String, in world: TinyWorld) throws -> Outcome {
    try Command.run("/bin/bash", ["-e", "-c", script], in: world.path, environment: environment)
  }
}
