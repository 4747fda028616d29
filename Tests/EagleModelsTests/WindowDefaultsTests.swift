import EagleModels
import Foundation
import Testing

/// The windows of configs without `sliding_window`, as in the config classes of transformers 5.23.
@Suite struct WindowDefaultsTests {
  private func windows(_ name: String, _ edit: (inout [String: Any]) -> Void) throws -> [Int?] {
    let scratch = try ModelScratch()
    return try TargetShape(folder: scratch.copy(of: name, edit: edit)).layerShapes.map(\.window)
  }

  @Test(
    "a config that leaves its window out has that of its family, in the layers that have one",
    arguments: [
      ("tiny-mistral", [4096, 4096, 4096, 4096]), ("tiny-ministral", [nil, 4096, 4096, nil]),
      ("tiny-ministral3", [nil, nil, nil, nil]), ("tiny-mixtral", [nil, nil, nil, nil]),
      ("tiny-phi3-short", [nil, nil, nil, nil]), ("tiny-qwen2-window", [nil, nil, 4096, 4096]),
      ("tiny-qwen3-window", [4096, nil, 4096, nil]), ("tiny-qwen3-moe", [nil, nil, nil, nil]),
      ("tiny-gemma2", [4096, nil, 4096, nil]), ("tiny-gemma3-types", [4096, 4096, nil, 4096, 4096, nil]),
      ("tiny-olmo3", [4096, 4096, nil, 4096]), ("tiny-gpt-oss", [128, nil, 128, nil]),
      ("tiny-smollm3", [nil, nil, nil, nil]),
    ] as [(String, [Int?])])
  func absent(name: String, expected: [Int?]) throws {
    #expect(try windows(name) { $0["sliding_window"] = nil } == expected)
  }

  @Test(
    "a window of null is none", arguments: ["tiny-mistral", "tiny-mixtral", "tiny-phi3-short", "tiny-qwen2-window"])
  func null(name: String) throws {
    #expect(try windows(name) { $0["sliding_window"] = NSNull() } == [nil, nil, nil, nil])
  }
}
