import EagleModels
import Foundation

/// The random tiny models and the greedy ids of transformers (`Tools/fixtures/make_tiny_models.py`).
enum Fixture {
  /// One or more models of each family. Models whose rotary embedding depends on the current length in transformers are
  /// left out, because ours depends on the maximum length; the tests of states cover those.
  static let names: [String] = {
    let found = (try? FileManager.default.contentsOfDirectory(atPath: folder(""))) ?? []
    return found.filter { $0.hasPrefix("tiny-") && !$0.hasSuffix("-long") }.sorted()
  }()

  static func folder(_ name: String) -> String {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    return tests.appendingPathComponent("Fixtures/\(name)").path
  }

  static func load(_ name: String) throws -> (model: TargetModel, ids: [Int32], greedy: [Int32]) {
    struct Expected: Decodable { let ids, greedy: [Int32] }
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder(name))/expected.json"))
    let expected = try JSONDecoder().decode(Expected.self, from: data)
    let context = name.hasSuffix("-long") ? expected.ids.count + expected.greedy.count + 40 : nil
    return (try TargetModel(folder: folder(name), context: context), expected.ids, expected.greedy)
  }
}
