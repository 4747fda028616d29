import EaglePlan
import Foundation
import Testing

@Suite struct BenchmarkShapeTests {
  @Test("benchmarks take every model of shapes.json, which tools in Python read too")
  func everyModel() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let data = try Data(contentsOf: root.appendingPathComponent("Sources/EaglePlan/Benchmark/shapes.json"))
    let listed = try #require(try JSONSerialization.jsonObject(with: data) as? [String: [String: Any]])
    #expect(Set(listed.keys) == Set(BenchmarkShape.allCases.map(\.rawValue)))
    for shape in BenchmarkShape.allCases {
      let config = try #require(listed[shape.rawValue]?["config"] as? [String: Any])
      #expect(config["hidden_size"] as? Int == shape.hiddenSize && config["vocab_size"] as? Int == shape.vocabularySize)
    }
  }
}
