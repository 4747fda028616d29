import EagleModels
import Foundation

/// The random tiny models and the greedy ids that transformers gives (`Tools/fixtures/make_tiny_models.py`).
enum Fixture {
  static func folder(_ name: String) -> String {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    return tests.appendingPathComponent("Fixtures/\(name)").path
  }

  static func load(_ name: String) throws -> (model: TargetModel, ids: [Int32], greedy: [Int32]) {
    struct Expected: Decodable { let ids, greedy: [Int32] }
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder(name))/expected.json"))
    let expected = try JSONDecoder().decode(Expected.self, from: data)
    return (try TargetModel(folder: folder(name)), expected.ids, expected.greedy)
  }
}
