import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleData
import EagleDraft
import EagleModels
import EagleTensor
import EagleText
import EagleTraining
import Foundation

/// Benchmarks the capture pass as in a run, including written and synced HDF5 shards, on a target with random weights.
package enum CaptureBenchmark {
  /// Runs the benchmark. The store is written to the empty `folder` and removed again.
  package static func run(_ options: BenchmarkOptions, folder: String) throws -> BenchmarkReport {
    let shape = options.shape.target()
    let target = TargetModel(random: shape, seed: 0, precision: options.precision)
    let data = try preparedData(options, vocabulary: shape.vocabularySize, folder: folder)
    let clock = PhaseClock()
    let pass = try CapturePass(
      target: target, data: data, config: CaptureConfig(), cluster: SoloCommunicator(), progress: SilentProgress(),
      clock: clock)
    let store = "\(folder)/capture"
    let repeats = try (0...options.repeats).map { _ in
      clock.reset()
      let peak = GemmBenchmark.peak(options.precision)
      let seconds = try ContinuousClock().measure { _ = try pass.run(folder: store) }.inSeconds
      try FileManager.default.removeItem(atPath: store)
      return BenchmarkRepeat(seconds: seconds, peakGflops: peak, phases: clock.named)
    }
    let lengths = [Int](repeating: options.tokens, count: options.conversations)
    return BenchmarkReport(
      "capture", options, operations: NeededOperations.capture(shape, lengths: lengths),
      path: Matmul.describe(options.precision), repeats: repeats)
  }

  private static func preparedData(
    _ options: BenchmarkOptions, vocabulary: Int, folder: String
  ) throws -> PreparedData {
    let path = "\(folder)/tokens.h5"
    let writer = try TokenStoreWriter(path: path)
    for ids in options.randomConversations(vocabulary: vocabulary) {
      try writer.append(ids: ids, mask: options.lossMask)
    }
    try writer.finish()
    return PreparedData(
      tokens: try TokenStore(path: path),
      vocabulary: DraftVocabulary(targetIDs: [0], targetSize: vocabulary))
  }
}
