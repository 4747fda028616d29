import EagleCore
import EagleDecoding
import EagleModels
import EagleStorage
import EagleTensor
import EagleText
import Foundation
import Testing

/// The paths of the target and of the results of transformers, from `scripts/oracles`; without them the test is
/// skipped.
private let reference = ProcessInfo.processInfo.environment["EAGLE_TARGET_REFERENCE"]
private let targetFolder = ProcessInfo.processInfo.environment["EAGLE_TARGET"]

/// Compares a real model in float32 with Hugging Face transformers (`Tools/oracles/target_reference.py`).
@Suite(.enabled(if: reference != nil && targetFolder != nil)) struct TargetParityTests {
  private struct Reference: Decodable {
    struct Prompt: Decodable { let ids, greedy: [Int32] }
    let prompts: [Prompt]
    let bfloat16_spread: [Double]
  }

  private let model: TargetModel
  private let prompts: [Reference.Prompt]
  private let spread: [Double]
  private let states: SafetensorsFile

  init() throws {
    let path = try #require(reference)
    model = try TargetModel(folder: try #require(targetFolder))
    let reference = try JSONDecoder().decode(
      Reference.self, from: Data(contentsOf: URL(fileURLWithPath: "\(path).json")))
    (prompts, spread) = (reference.prompts, reference.bfloat16_spread)
    states = try SafetensorsFile(path: "\(path).safetensors")
  }

  /// The root mean square of the errors of the rows. The first token's state is twenty times as large as all others
  /// together, and its error in bfloat16 is that of one rounded number.
  private func rowError(_ values: [Float], _ reference: [Float]) -> Double {
    let hidden = model.shape.hiddenSize
    let errors = stride(from: 0, to: values.count, by: hidden).map {
      relativeError(Array(values[$0..<$0 + hidden]), Array(reference[$0..<$0 + hidden]))
    }
    return (errors.reduce(0) { $0 + $1 * $1 } / Double(errors.count)).squareRoot()
  }

  /// Norm of the difference over the norm of the reference.
  private func relativeError(_ values: [Float], _ reference: [Float]) -> Double {
    let difference = zip(values, reference).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
    return (difference / reference.reduce(0.0) { $0 + Double($1) * Double($1) }).squareRoot()
  }

  private func columns(_ aux: Tensor, _ slot: Int) -> [Float] {
    let (hidden, values) = (model.shape.hiddenSize, aux.values)
    return (0..<aux.rows).flatMap { row in (0..<hidden).map { values[row * aux.columns + slot * hidden + $0] } }
  }

  /// Largest relative errors of the three captured layers and of the final state.
  private func worstErrors(_ precision: ComputePrecision, _ error: ([Float], [Float]) -> Double) throws -> [Double] {
    let model = precision == model.precision ? model : try TargetModel(folder: model.path, precision: precision)
    var worst = [Double](repeating: 0, count: 4)
    for (index, prompt) in prompts.enumerated() {
      let ours = model.prefill(
        prompt.ids, segments: [Segment(rows: 0..<prompt.ids.count)], captureLayers: model.shape.defaultCaptureLayers)
      let (aux, last) = (try states.tensor("prompt\(index).aux"), try states.tensor("prompt\(index).last"))
      for slot in 0..<3 {
        worst[slot] = max(worst[slot], error(columns(ours.auxHidden!, slot), columns(aux, slot)))
      }
      worst[3] = max(worst[3], error(ours.lastHidden.values, last.values))
    }
    return worst
  }

  @Test("captured and final states in float32 agree with transformers") func capturedAndFinalStates() throws {
    let worst = try worstErrors(.fp32, relativeError)
    print("relative errors of the captured layers and the final state: \(worst)")
    #expect(!prompts.isEmpty && worst.allSatisfy { $0 < 1e-4 })
  }

  /// In bfloat16 no further from float32 than transformers' own bfloat16 is.
  @Test("states in bf16 are closer to float32 than those of transformers", .enabled(if: Matmul.hasBFloat16Products))
  func statesInBFloat16() throws {
    let worst = try worstErrors(.bf16, rowError)
    print("relative errors in bfloat16: \(worst); transformers' own: \(spread)")
    #expect(!prompts.isEmpty && zip(worst, spread).allSatisfy { $0 < $1 })
  }

  @Test("greedy tokens are those of transformers") func greedyTokens() throws {
    var equal = 0
    for prompt in prompts {
      let options = DecodingOptions(maxNewTokens: prompt.greedy.count, stopIDs: [])
      if try DecodingSession(target: model).generate(prompt.ids, options).ids == prompt.greedy { equal += 1 }
    }
    print("greedy texts equal: \(equal) of \(prompts.count)")
    #expect(equal == prompts.count && equal >= 20)
  }
}
