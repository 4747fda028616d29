import EagleCore
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

/// The paths of a GGUF file and of the results of transformers with its dequantised weights, from `scripts/oracles`;
/// without them the test is skipped.
private let reference = ProcessInfo.processInfo.environment["EAGLE_GGUF_REFERENCE"]
private let file = ProcessInfo.processInfo.environment["EAGLE_GGUF_TARGET"]

/// Compares a real model in blocks with Hugging Face transformers in float32 (`Tools/oracles/target_reference.py`).
@Suite(.enabled(if: reference != nil && file != nil)) struct BlockParityTests {
  private struct Reference: Decodable {
    struct Prompt: Decodable { let ids, greedy: [Int32] }
    let prompts: [Prompt]
  }

  /// Relative errors of logits, norm over norm: of all rows, and the largest of a row; and the share of rows whose
  /// likeliest token is the same.
  private struct Difference: CustomStringConvertible {
    private(set) var largest = 0.0
    private var (difference, size, same, rows) = (0.0, 0.0, 0, 0)

    mutating func add(_ ours: [Float], _ theirs: [Float]) {
      let error = zip(ours, theirs).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
      let norm = theirs.reduce(0.0) { $0 + Double($1) * Double($1) }
      largest = max(largest, (error / norm).squareRoot())
      (difference, size, rows) = (difference + error, size + norm, rows + 1)
      if ours.firstIndex(of: ours.max() ?? 0) == theirs.firstIndex(of: theirs.max() ?? 0) { same += 1 }
    }

    var whole: Double { (difference / size).squareRoot() }
    var agreement: Double { Double(same) / Double(rows) }
    var description: String {
      String(format: "relative error %.2e, of a row at most %.2e; likeliest token %d of %d", whole, largest, same, rows)
    }
  }

  private let prompts: [Reference.Prompt]
  private let logits: SafetensorsFile

  init() throws {
    let path = try #require(reference)
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(path).json"))
    prompts = try JSONDecoder().decode(Reference.self, from: data).prompts
    logits = try SafetensorsFile(path: "\(path).safetensors")
  }

  /// The logits of each greedy token of the reference, in passes of the given kind.
  private func compare(_ precision: ComputePrecision, _ kind: TargetModel.PassKind) throws -> Difference {
    let model = try TargetModel(folder: try #require(file), precision: precision)
    var result = Difference()
    for (index, prompt) in prompts.enumerated() {
      let ids = prompt.ids + prompt.greedy.dropLast()
      let segment = Segment(rows: 0..<ids.count, cache: model.makeCache(capacity: ids.count))
      let states = model.run(kind, ids, segments: [segment], captureLayers: []).lastHidden
      let ours = model.logits(states.slice(prompt.ids.count - 1..<ids.count)).values
      let theirs = try logits.tensor("prompt\(index).logits").values
      let size = model.shape.vocabularySize
      for start in stride(from: 0, to: theirs.count, by: size) {
        result.add(Array(ours[start..<start + size]), Array(theirs[start..<start + size]))
      }
    }
    return result
  }

  @Test(
    "without rounded activations logits are those of the blocks' values",
    arguments: [TargetModel.PassKind.prefill, .decode])
  func exactActivations(kind: TargetModel.PassKind) throws {
    let difference = try compare(.fp32, kind)
    print("\(file ?? ""), fp32, \(kind): \(difference)")
    // because: float32 on both sides, in sums of another order, through 30 layers
    #expect(difference.whole < 1e-5 && difference.largest < 1e-4 && difference.agreement == 1)
  }

  @Test("as programs decode by default, activations rounded to 8 bits in groups of 32, logits stay close")
  func roundedActivations() throws {
    let difference = try compare(.bf16, .decode)
    print("\(file ?? ""), by default, decode: \(difference)")
    #expect(difference.whole < 0.05 && difference.agreement > 0.9)
  }
}
