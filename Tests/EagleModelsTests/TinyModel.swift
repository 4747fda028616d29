import EagleCore
import EagleModels
import EagleTensor
import Foundation

/// A random model of a few kilobytes with the results of transformers (`Tools/fixtures/make_tiny_models.py`).
struct TinyModel: Decodable {
  let layers: [Int]
  let ids: [Int32]
  let hidden_states: [[[Double]]]  // [3][T][H]
  let final_norm: [[Double]]  // [T][H]
  let logits_rows: [Int]
  let logits: [[Double]]
  let greedy: [Int32]

  /// All tiny models of the fixtures: one or more of each family.
  static let names: [String] = {
    let found = (try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? []
    return found.filter { $0.hasPrefix("tiny-") }.sorted()
  }()

  private static let fixtures: String = {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    return tests.appendingPathComponent("Fixtures").path
  }()

  static func folder(_ name: String) -> String { "\(fixtures)/\(name)" }

  /// The model. The context of a `-long` model is the length of its sequence.
  static func target(
    _ name: String, precision: ComputePrecision = .fp32, cache: CacheFormat? = nil
  ) throws -> TargetModel {
    let context = name.hasSuffix("-long") ? try load(name).ids.count : nil
    return try TargetModel(folder: folder(name), precision: precision, cache: cache, context: context)
  }

  static func load(_ name: String) throws -> TinyModel {
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder(name))/expected.json"))
    return try JSONDecoder().decode(TinyModel.self, from: data)
  }
}

/// A folder of its own for one test, removed afterwards.
final class ModelScratch {
  let path = NSTemporaryDirectory() + "/eagle-models-" + UUID().uuidString

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// A copy of a tiny model whose config is changed by `edit`.
  func copy(of name: String, edit: (inout [String: Any]) -> Void) throws -> String {
    let folder = "\(path)/\(name)"
    try FileManager.default.copyItem(atPath: TinyModel.folder(name), toPath: folder)
    let config = URL(fileURLWithPath: "\(folder)/config.json")
    var values = try JSONSerialization.jsonObject(with: Data(contentsOf: config)) as? [String: Any] ?? [:]
    edit(&values)
    try JSONSerialization.data(withJSONObject: values).write(to: config)
    return folder
  }
}
