import EagleCore
import EagleRunFiles
import EagleTraining
import Foundation
import Testing

/// Runs over conversations whose states are not finite.
@Suite(.serialized) struct NonFiniteRunTests {
  /// Every seventh conversation has states that overflow.
  private func world() throws -> TinyWorld {
    let world = try TinyWorld()
    try world.letCharacterOverflow()
    let lines = String(decoding: try world.read("data.jsonl"), as: UTF8.self).split(separator: "\n")
    let changed = lines.enumerated().map { index, line in
      index % 7 == 0 ? String(line).replacing(#""user", "content": ""#, with: #""user", "content": "Z "#) : String(line)
    }
    try world.put("data.jsonl", changed.joined(separator: "\n") + "\n")
    return world
  }

  private func run(_ world: TinyWorld, ranks: Int, _ settings: [String]) throws -> Outcome {
    let arguments = ["run", "recipe.yaml"] + settings.flatMap { ["--set", $0] }
    return ranks == 1
      ? try Command.run("eagle-train", arguments, in: world.path)
      : try Command.runRanks(ranks, arguments, in: world.path)
  }

  @Test("conversations with non-finite values are named and left out in every stage", arguments: [1, 2])
  func leftOutEverywhere(ranks: Int) throws {
    let world = try world()
    let outcome = try run(
      world, ranks: ranks,
      [
        "data.held_out=0.4", "draft.start=fitted", "train.feature_rates=by-size", "train.max_skipped_steps=100",
        "train.tokens_per_batch=100",
      ])
    #expect(outcome.status == 0, "\(outcome.errors)")
    for said in ["draft.start fitted: left out", "feature sizes: left out", "held out: ", "is left out: the"] {
      #expect(outcome.errors.contains(said), "\(said): \(outcome.errors)")
    }
    let records = try EvaluationFile.read(world("out/evaluation.json"))
    #expect(records.count == 3 && records.allSatisfy { ($0.heldOut?.leftOut ?? 0) > 0 && $0.heldOut!.loss.isFinite })
  }

  @Test("a run that ends keeps a state from before all steps that were left out", arguments: 0..<4)
  func keepsAStateFromBefore(seed: Int) throws {
    let world = try TinyWorld()
    try world.letCharacterOverflow()
    let lines = (0..<6).map { index in
      #"{"id": "c\#(index)", "conversations": [{"role": "user", "content": "Z \#(index)"}, "#
        + #"{"role": "assistant", "content": "apple \#(index)."}]}"#
    }
    try world.put("data.jsonl", lines.joined(separator: "\n") + "\n")
    // A batch is a conversation. Two of six train nothing, and four have no finite loss.
    let outcome = try run(
      world, ranks: 1,
      [
        "data.held_out=0", "train.max_skipped_steps=2", "train.tokens_per_batch=1", "train.leave_out=[c1, c2]",
        "train.epochs=3", "train.seed=\(seed)",
      ])
    let steps = String(decoding: try world.read("out/metrics.jsonl"), as: UTF8.self).split(separator: "\n")
    let leading = steps.prefix { $0.contains("no conversation of the batch is trained") }.count
    #expect(outcome.status == 1 && steps.count >= 3)
    #expect(outcome.errors.contains("the weights of step \(leading) are kept"), "\(steps) \(outcome.errors)")
  }

  @Test("the advice of an error takes a run past its bad conversations")
  func theAdviceWorks() throws {
    let world = try world()
    let settings = ["data.held_out=0", "train.max_skipped_steps=0", "train.epochs=1"]
    var (leftOut, starts) = ([String](), 0)
    var outcome = try run(world, ranks: 1, settings)
    while outcome.status == 1, starts < 12 {
      starts += 1
      let list = try #require(outcome.errors.firstMatch(of: /set train\.leave_out to (\[[^\]]*\])/)?.1)
      leftOut = try JSONDecoder().decode([String].self, from: Data(list.utf8))
      // Exactly as the error advises.
      outcome = try run(world, ranks: 1, settings + ["train.leave_out=\(list)"])
    }
    #expect(outcome.status == 0 && starts > 1, "\(outcome.errors)")
    #expect(Set(leftOut).isSubset(of: Set((0..<60).filter { $0 % 7 == 0 }.map { "c\($0)" })))
    // Changes before the first step start the run anew, and are not recorded as changes.
    let lines = String(decoding: try world.read("out/changes.jsonl"), as: UTF8.self).split(separator: "\n")
    let changes = try lines.map { try JSONDecoder().decode(RunChange.self, from: Data($0.utf8)) }
    #expect((1...starts) ~= changes.count && changes.allSatisfy { $0.key == "train.leave_out" && $0.step > 0 })
    #expect(try JSONDecoder().decode([String].self, from: Data((changes.last?.to ?? "").utf8)) == leftOut)
    let unknown = try run(world, ranks: 1, settings + ["train.leave_out=[nobody]"])
    #expect(unknown.status == 1 && unknown.errors.contains("no prepared conversation is called nobody"))
  }
}
