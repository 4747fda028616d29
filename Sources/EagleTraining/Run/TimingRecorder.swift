import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleDraft
import EagleRunFiles
import EagleTensor
import Foundation

/// `timing.json` of a run, kept up to date: at the start, and after each epoch or part of one.
final class TimingRecorder {
  private let path: String
  private let cluster: any Communicator
  private let clock: PhaseClock
  /// The content of the file, on rank 0; nil before the first collective call.
  private var timing: RunTiming?
  private var hasBegun = false
  /// The start of the current part: its time, its step, and the phase seconds at that time.
  private var opening: (time: ContinuousClock.Instant, step: Int, seconds: [Phase: Double])?

  init(path: String, cluster: any Communicator, clock: PhaseClock) {
    (self.path, self.cluster, self.clock) = (path, cluster, clock)
  }

  /// Starts a part of the training after `step`. Collective.
  func open(after step: Int) throws {
    if !hasBegun { try begin(after: step) }
    hasBegun = true
    opening = (.now, step, clock.seconds)
  }

  /// Ends the part with `step`. Collective.
  func close(epoch: Int, step: Int) throws {
    guard let (time, first, before) = opening else { return }
    opening = nil
    let seconds = time.duration(to: .now).inSeconds
    let own = clock.seconds.map { ($0.key.rawValue, $0.value - before[$0.key, default: 0]) }.filter { $0.1 > 0 }
    let all = try cluster.allGather(value: Dictionary(uniqueKeysWithValues: own))
    guard cluster.isRoot, step > first, let starts = timing?.starts.count else { return }
    timing?.parts.append(
      .init(start: starts - 1, epoch: epoch, firstStep: first + 1, lastStep: step, seconds: seconds, phases: all))
    try write()
  }

  private func begin(after step: Int) throws {
    let own = RunTiming.Rank(host: HostName.own ?? "unknown", threads: Parallel.threadCount, processor: Processor.name)
    let ranks = try cluster.allGather(value: own)
    guard cluster.isRoot else { return }
    var timing = (RunTiming.read(path) ?? RunTiming()).kept(after: step)
    timing.starts.append(
      .init(time: Date().timeIntervalSince1970, step: step, versions: versions, ranks: ranks))
    self.timing = timing
    try write()
  }

  private func write() throws {
    if let timing { try AtomicFile.writeJSON(timing, to: path, style: .indented) }
  }

  private var versions: [String: String] {
    [
      "Swift": NumericLibraries.swift, "oneDNN": NumericLibraries.oneDNN, "OpenBLAS": NumericLibraries.openBLAS,
      "HDF5": HDF5Library.version, "MPI": cluster.library,
    ]
  }

}
