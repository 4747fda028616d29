import ArgumentParser
import EagleCluster
import EagleCore
import EagleMPI
import EagleServer
import EagleTensor
import Foundation

/// Starts a command on all ranks, and ends it in order.
enum RankLauncher {
  /// Joins the other ranks and runs `body`. If one rank fails, it prints the error and ends all ranks. If the run was
  /// stopped on request, all ranks end with status 130 and the finished work is kept.
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
      // Rank 0 writes the result last, so the other ranks are also at their end.
      try? cluster.finish()
      throw error
    } catch {
      Output.note("Error: \(cluster.size > 1 ? "rank \(cluster.rank): " : "")\(error)")
      cluster.abort(code: 1)
      throw ExitCode.failure
    }
  }
}
