import EagleCluster
import EagleMPI
import Foundation

/// The hosts of all ranks, for a process that mpirun has started.
func nameHosts() throws {
  let cluster = try MPICommunicator.start()
  let hosts = try cluster.allGather(Data(ProcessInfo.processInfo.hostName.utf8))
  if cluster.isRoot {
    for (rank, host) in hosts.enumerated() {
      print("rank", rank, "on", String(decoding: host, as: UTF8.self))
    }
    print(cluster.library)
  }
  try cluster.finish()
}
