import ArgumentParser
import EagleCluster
import EagleCore
import EagleMPI
import EagleServer
import EagleTensor
import Foundation

/// The start and the orderly end of a command on all ranks.
enum RankLauncher {
  /// Joins the other ranks and runs `body`. When one rank fails, it says so and ends all of them; when the run has
  /// stopped on request, all end with what is finished, and status 130.
  static func run(_ body: (any Communicator) throws -> Void) throws {
    let cluster = try Cluster.connect()
    do {
      Parallel.threadCount = try Cluster.defaultThreads(for: cluster)
      try body(cluster)
      try cluster.finish()
    } catch let stopped as StoppedRun {
      if cluster.isRoot { Output.note("\(stopped)") }
      try? cluster.finish()
      throw ExitCode(StopSignals.status)
    } catch let error as OutputError where error.isReaderGone {
      // The result is what rank 0 does last: the others are at their end, too.
      try? cluster.finish()
      throw error
    } catch {
      Output.note("Error: \(cluster.size > 1 ? "rank \(cluster.rank): " : "")\(error)")
      cluster.abort(code: 1)
      throw ExitCode.failure
    }
  }
}
