import EagleCluster
import EagleMPI
import Foundation
import Testing

@Suite struct ConnectTests {
  @Test(
    "launchers of MPI are recognised by their environment",
    arguments: [
      ["OMPI_COMM_WORLD_SIZE": "2"],
      ["PMI_RANK": "0", "PMI_SIZE": "4"],
      ["PMIX_RANK": "1"],
      ["SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"],
    ])
  func launchersAreRecognised(environment: [String: String]) {
    #expect(Cluster.startedByLauncher(environment))
  }

  @Test(
    "a process without a launcher runs alone",
    arguments: [
      [:],
      ["OMP_NUM_THREADS": "2", "HOME": "/root"],
      // A batch script is a step of one task, not a rank of a job.
      ["SLURM_PROCID": "0", "SLURM_JOB_ID": "17"],
      ["SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"],
    ])
  func plainRunsStayAlone(environment: [String: String]) throws {
    #expect(!Cluster.startedByLauncher(environment))
    let communicator = try Cluster.connect(environment: environment)
    #expect(communicator is SoloCommunicator)
  }
}
