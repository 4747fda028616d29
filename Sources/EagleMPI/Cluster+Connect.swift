import EagleCluster
import Foundation

extension Cluster {
  /// Joins the MPI job that started this process, or stays alone when none did.
  ///
  /// A plain run never touches MPI, so it needs neither a daemon nor a working network.
  /// - Throws: `ClusterError.mpi` when MPI does not start.
  public static func connect(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> any Communicator {
    startedByLauncher(environment) ? try MPICommunicator.start() : SoloCommunicator(library: library)
  }

  /// Whether the environment is one that mpirun, mpiexec or srun gives to each rank.
  ///
  /// Slurm's batch script itself is a step of one task, hence the look at the number of tasks.
  public static func startedByLauncher(_ environment: [String: String]) -> Bool {
    // Open MPI; PMI-1 and PMI-2 (MPICH, Intel MPI); PMIx.
    let markers = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK"]
    if markers.contains(where: { environment[$0] != nil }) { return true }
    let tasks = environment["SLURM_STEP_NUM_TASKS"].flatMap { Int($0) } ?? 1
    return environment["SLURM_PROCID"] != nil && tasks > 1
  }
}
