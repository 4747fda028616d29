import EagleCluster

/// A sum over all ranks, and a stop that all ranks hear of.
func sumOverRanks() throws {
  let cluster = SoloCommunicator()
  let losses = try cluster.allReduceSum([Float(2.5), 3.5])
  let tokens = try cluster.allReduceSum([Int64(1024)])
  if cluster.isRoot { print("sums over \(cluster.size) rank:", losses, tokens) }

  let stop = StopRequest()
  stop.make("SIGTERM")
  do {
    try stop.throwIfAnyRankStops(cluster, during: "capture")
  } catch let error as StoppedRun {
    print(error)
  }
}
