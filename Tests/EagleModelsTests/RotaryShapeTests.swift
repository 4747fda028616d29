import EagleModels
import Foundation
import Testing

/// Rotary embeddings of configs against transformers' (`Tools/fixtures/make_rotary.py`).
@Suite struct RotaryShapeTests {
  private struct Case {
    let name: String
    let config: [String: Any]
    let layer: Int
    /// The maximum context, the frequencies and the factor of cosines and sines.
    let lengths: [(context: Int?, frequencies: [Float], factor: Float)]

    init(_ object: [String: Any]) throws {
      name = try #require(object["name"] as? String)
      var config = try #require(object["config"] as? [String: Any])
      config["rms_norm_eps"] = config["rms_norm_eps"] ?? 1e-6
      if config["model_type"] as? String == "gpt_oss" {
        config.merge(["num_local_experts": 4, "num_experts_per_tok": 2]) { $1 }
      }
      let type = object["layer_type"] as? String
      // Without a list, five layers with a window come before each one without.
      let types =
        config["layer_types"] as? [String] ?? [String](repeating: "sliding_attention", count: 5) + ["full_attention"]
      config["num_hidden_layers"] = types.count
      layer = type.flatMap { types.firstIndex(of: $0) } ?? 0
      self.config = config
      lengths = try (try #require(object["lengths"] as? [[String: Any]])).map { length in
        (
          length["length"] as? Int, try #require(length["inv_freq"] as? [NSNumber]).map(\.floatValue),
          try #require(length["attention_factor"] as? NSNumber).floatValue
        )
      }
    }
  }

  @Test("frequencies and factors of every scaling, from both spellings, are those of transformers")
  func scalings() throws {
    let scratch = try ModelScratch()
    let data = try Data(contentsOf: URL(fileURLWithPath: TinyModel.folder("rotary.json")))
    let file = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    let cases = try (try #require(file["cases"] as? [[String: Any]])).map { try Case($0) }
    #expect(cases.count >= 30)
    for item in cases {
      try JSONSerialization.data(withJSONObject: item.config)
        .write(to: URL(fileURLWithPath: "\(scratch.path)/config.json"))
      for length in item.lengths {
        let shape = try TargetShape(folder: scratch.path, context: length.context)
        let rotary = try #require(shape.layerShapes[item.layer].rotary, "\(item.name)")
          .rotary(context: length.context ?? shape.maxPositions)
        // because: the same operations in float32, powers from another library
        let close = zip(rotary.frequencies, length.frequencies).allSatisfy { abs($0 - $1) <= 2e-6 * abs($1) }
        #expect(close && rotary.frequencies.count == length.frequencies.count, "\(item.name) \(rotary.frequencies)")
        #expect(abs(rotary.factor - length.factor) < 1e-6, "\(item.name)")
      }
    }
  }
}
