import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleData
import EagleModels
import EagleText
import EagleTraining
import Foundation

/// Prepared data and captured states of a tiny target, and the losses of a run on them.
enum TinyCapture {
  static func target(_ name: String) throws -> TargetModel {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    return try TargetModel(folder: tests.appendingPathComponent("Fixtures/\(name)").path)
  }

  static func prepared(_ folder: String, _ target: TargetModel) throws -> PreparedData {
    let size = target.shape.vocabularySize
    let writer = try TokenStoreWriter(path: "\(folder)/tokens.h5")
    for conversation in 0..<12 {
      let ids = (0..<10).map { Int32(($0 * 7 + conversation * 5) % size) }
      try writer.append(ids: ids, mask: (0..<10).map { $0 > 2 ? 1 : 0 })
    }
    try writer.finish()
    return PreparedData(
      tokens: try TokenStore(path: "\(folder)/tokens.h5"),
      vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: size), size: 40, always: []), fingerprint: "family")
  }

  static func captured(
    _ folder: String, _ target: TargetModel, _ data: PreparedData, layers: [Int]
  ) throws -> CaptureStore {
    var config = CaptureConfig()
    (config.layers, config.shardTokens) = (.listed(layers), 60)
    return try CapturePass(
      states: try StateCapture(target: target, config: config, precision: .fp32), data: data, config: config,
      cluster: SoloCommunicator(), progress: SilentProgress(), stop: StopRequest()
    ).run(folder: "\(folder)/capture")
  }

  /// The loss of each step.
  static func losses(of run: String) throws -> [Double] {
    struct Loss: Decodable {
      let loss: Double
    }
    return try String(contentsOfFile: "\(run)/metrics.jsonl", encoding: .utf8)
      .split(separator: "\n").map { try JSONDecoder().decode(Loss.self, from: Data($0.utf8)).loss }
  }
}
