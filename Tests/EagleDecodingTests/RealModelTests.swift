import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleTensor
import EagleText
import Foundation
import Testing

/// The paths of a target, prompts for it and a head, from `scripts/oracles`; without them the tests are skipped.
private let reference = ProcessInfo.processInfo.environment["EAGLE_TARGET_REFERENCE"]
private let targetFolder = ProcessInfo.processInfo.environment["EAGLE_TARGET"]
private let draftFolder = ProcessInfo.processInfo.environment["EAGLE_DRAFT"]

/// Decoding with a real model and a trained head.
@Suite(.enabled(if: reference != nil && targetFolder != nil && draftFolder != nil), .serialized)
struct RealModelTests {
  private struct Reference: Decodable {
    struct Prompt: Decodable { let ids, greedy: [Int32] }
    let prompts: [Prompt]
  }

  private let target: TargetModel
  private let draft: DraftModel
  private let prompts: [Reference.Prompt]

  init() throws {
    target = try TargetModel(folder: try #require(targetFolder))
    draft = try DraftFolder.read(try #require(draftFolder), target: target)
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(try #require(reference)).json"))
    prompts = try JSONDecoder().decode(Reference.self, from: data).prompts
  }

  /// The second and third new token, sampled plainly with some seeds and speculatively with others: one distribution.
  @Test(
    "sampled tokens have the distribution of plain decoding",
    arguments: [DraftPlan.chain(3), DraftPlan(depth: 3, width: 3, nodes: 6)])
  func sampledTokensAreThoseOfPlainDecoding(plan: DraftPlan) throws {
    let sessions = [DecodingSession(target: target), DecodingSession(target: target, draft: draft)]
    var counts = [[Int]](repeating: [Int](repeating: 0, count: 2 * target.shape.vocabularySize), count: 2)
    var statistics = DecodingStatistics()
    for seed in 0..<500 as Range<UInt64> {
      for (which, session) in sessions.enumerated() {
        var options = DecodingOptions(maxNewTokens: 4, stopIDs: [], plan: plan)
        (options.sampling.temperature, options.sampling.topP) = (0.9, 0.95)
        options.sampling.seed = 2 * seed + UInt64(which)
        let generation = try session.generate(prompts[0].ids, options)
        for place in 0..<2 { counts[which][place * target.shape.vocabularySize + Int(generation.ids[place + 1])] += 1 }
        if which == 1 { statistics += generation.statistics }
      }
    }
    let score = ChiSquared.twoSampleScore(counts[0], counts[1])
    print("\(plan): two-sample score \(score), accepted \(statistics.accepted) of \(statistics.proposed)")
    #expect(score < 4)
    #expect(statistics.accepted[0] > 20 && statistics.accepted[0] < statistics.proposed[0])
  }

  /// The effect of 8-bit weights on the logits along the texts of the stored weights, and of additional 8-bit
  /// activations in a decoding pass.
  @Test("logits of 8-bit weights stay close to those of the stored weights, with activations in 8 bits too")
  func eightBitWeightsStayClose() throws {
    let exact = try TargetModel(folder: targetFolder!, format: .q8_0)
    let (weights, _) = try compare((target, .prefill), (exact, .decode), "8-bit weights")
    let rounding = try TargetModel(folder: targetFolder!, format: .q8_0, precision: .bf16)
    let (both, agreement) = try compare((target, .prefill), (rounding, .decode), "8-bit weights and activations")
    #expect(both > 1.2 * weights && both < 0.05 && agreement > 0.95)
  }

  /// The effect of rows rounded to bfloat16 in a decoding pass along the same texts, and that of the GEMMs of prefill.
  @Test(
    "logits of activations rounded to bf16 stay close to the exact ones",
    .enabled(if: MatmulMode.batchInvariant(.bf16).roundsRows, "this processor rounds no rows"),
    arguments: [TargetModel.PassKind.decode, .prefill])
  func roundedRowsStayClose(kind: TargetModel.PassKind) throws {
    let rounding = try TargetModel(folder: targetFolder!, precision: .bf16)
    let (error, agreement) = try compare((target, .prefill), (rounding, kind), "\(kind) in bf16")
    #expect(error > 1e-4 && error < 0.02 && agreement > 0.95)
  }

  /// The effect of rounded keys and values in a decoding pass along the same texts, with GEMMs in float32.
  @Test("logits over rounded caches stay close", arguments: [CacheFormat.bf16, .q8_0])
  func roundedCachesStayClose(cache: CacheFormat) throws {
    let rounding = try TargetModel(folder: targetFolder!, cache: cache)
    let (error, agreement) = try compare((target, .decode), (rounding, .decode), "KV caches in \(cache)")
    #expect(error > 1e-4 && error < 0.02 && agreement > 0.95)
  }

  /// The difference between the logits of the two along the texts, and the share of rows with the same most likely
  /// token.
  private func compare(
    _ first: (TargetModel, TargetModel.PassKind), _ second: (TargetModel, TargetModel.PassKind), _ name: String
  ) throws -> (error: Double, agreement: Double) {
    var (same, rows, difference, size) = (0, 0, 0.0, 0.0)
    for prompt in prompts {
      let ids = prompt.ids + prompt.greedy
      let logits = [first, second].map { model, kind in
        let segment = Segment(rows: 0..<ids.count, cache: model.makeCache(capacity: ids.count))
        let states = model.run(kind, ids, segments: [segment], captureLayers: [])
        return switch kind {
        case .prefill: Matmul.forward(states.lastHidden, model.head, model.precision)
        case .decode: model.logits(states.lastHidden)
        }
      }
      same += zip(logits[0].argmax(), logits[1].argmax()).reduce(0) { $0 + ($1.0 == $1.1 ? 1 : 0) }
      rows += ids.count
      for i in 0..<logits[0].count {
        let (a, b) = (Double(logits[0].floats[i]), Double(logits[1].floats[i]))
        difference += (a - b) * (a - b)
        size += a * a
      }
    }
    let (error, agreement) = ((difference / size).squareRoot(), Double(same) / Double(rows))
    print("\(name): logits differ by \(error), the likeliest token is the same in \(agreement) of \(rows) rows")
    return (error, agreement)
  }
}
