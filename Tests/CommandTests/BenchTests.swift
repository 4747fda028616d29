import EagleCore
import Foundation
import Testing

@Suite struct BenchTests {
  private func report(_ arguments: [String]) throws -> [String: Any] {
    let outcome = try Command.run("eagle-train", ["bench"] + arguments + ["--repeat", "1", "--json"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    return try #require(try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
  }

  @Test(
    "bench capture and bench train report speed, memory and phases",
    arguments: [
      ["capture", "--shape", "smollm2-135m", "--tokens", "16", "--conversations", "2"],
      ["train", "--shape", "smollm2-135m", "--tokens", "24", "--conversations", "2", "--draft-vocabulary", "64"],
    ])
  func speedsAreReported(arguments: [String]) throws {
    let report = try report(arguments)
    for key in ["tokens_per_second", "gflops", "peak_gflops", "peak_ratio", "peak_rss", "seconds"] {
      #expect((report[key] as? Double ?? 0) > 0, "\(key)")
    }
    let phases = try #require(report["phases"] as? [String: Double])
    let expected =
      arguments[0] == "capture"
      ? ["target", "target_head", "writing"]
      : ["reading", "teacher", "draft_forward", "head_and_loss", "backward", "communication", "optimiser"]
    #expect(Set(phases.keys) == Set(expected))
    #expect(phases.values.reduce(0, +) <= report["seconds"] as? Double ?? 0)
  }

  /// A conversation of four chunks, each of whose rows needs 0.45 MB until its backward pass.
  @Test("a long conversation needs the memory that a plan says") func memoryIsAsPlanned() throws {
    let report = try report([
      "train", "--shape", "smollm2-135m", "--tokens", "2048", "--conversations", "1", "--assistant-share", "1",
      "--draft-vocabulary", "4096",
    ])
    let (peak, planned) = (report["peak_rss"] as? Double ?? 0, report["planned_memory"] as? Double ?? 0)
    #expect(planned > 1e8 && abs(peak / planned - 1) < 0.15, "\(peak) for \(planned)")
  }

  @Test("bench generate reports the speed of each batch size") func answersAreReportedByBatch() throws {
    let outcome = try Command.run(
      "eagle-train",
      [
        "bench", "generate", "--shape", "smollm2-135m", "--batches", "1,2", "--prompt-tokens", "4", "--new-tokens", "2",
        "--json",
      ])
    let report = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any]
    let batches = try #require(report?["batches"] as? [[String: Any]], "\(outcome.errors)")
    #expect(batches.map { $0["batch"] as? Int } == [1, 2])
    #expect(batches.allSatisfy { ($0["tokens_per_second"] as? Double ?? 0) > 0 })
  }

  @Test("bench gemm reports seven matmuls, forward and for the weight gradient") func productsAreReported() throws {
    let report = try report(["gemm", "--shape", "smollm2-135m", "--tokens", "16", "--draft-vocabulary", "64"])
    let rows = try #require(report["rows"] as? [[String: Any]])
    #expect(rows.count == 7)
    for row in rows { #expect((row["forward"] as? Double ?? 0) > 0 && (row["weight_gradient"] as? Double ?? 0) > 0) }
  }

  @Test(
    "bench train refuses zero tokens and an unknown or missing shape",
    arguments: [["--shape", "gpt-5"], ["--shape", "qwen3-4b", "--tokens", "0"], ["--tokens", "64"]])
  func badArgumentsAreRefused(arguments: [String]) throws {
    #expect(try Command.run("eagle-train", ["bench", "train"] + arguments).status == 64)
  }
}
