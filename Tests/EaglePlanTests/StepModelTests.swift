import EagleCore
import EaglePlan
import Foundation
import Testing

@Suite struct StepModelTests {
  private func model(bandwidth: Double) throws -> StepModel {
    let report = """
      {"benchmark": "train", "shape": "qwen3-4b", "tokens": 512, "conversations": 2, "threads": 2, "ranks": 1, "path": "",
       "seconds": 30.9, "tokens_per_second": 1, "gflops": 1, "peak_gflops": 1, "peak_ratio": 1, "peak_rss": 1,
       "phases": {"teacher": 2.048, "draft_forward": 7.168, "head_and_loss": 10.24, "backward": 10.24, "optimiser": 1.5}}
      """
    return StepModel(
      costs: .init(try JSONDecoder().decode(BenchmarkReport.self, from: Data(report.utf8))),
      link: .init(bandwidth: bandwidth, latency: 0), parameters: 200_000_000, headParameters: 80_000_000, wireBytes: 4,
      imbalance: 0)
  }

  /// Computed by hand: 29 ms per token; two nodes with 1,024 tokens each, 200 M parameters of 4 bytes, half of them
  /// each way.
  @Test("forecast steps agree with values computed by hand") func stepsAreThoseWorkedOutByHand() throws {
    let fast = try model(bandwidth: 1e8).step(nodes: 2, batch: 2048)
    #expect(abs(fast.compute - (1024 * 0.029 + 1.5)) < 1e-9)
    // The LM head's 3.2 s overlap with 10.24 s of the backward pass; 2.048 s of the rest's 4.8 s overlap with the
    // teacher.
    #expect(abs(fast.exposed - (4.8 - 2.048)) < 1e-9 && abs(fast.bytesSent - 8e8) < 1)
    let slow = try model(bandwidth: 1e7).step(nodes: 2, batch: 2048)
    #expect(abs(slow.exposed - (32 + 48 - 10.24 - 2.048)) < 1e-9)
    let alone = try model(bandwidth: 1e7).step(nodes: 1, batch: 2048)
    #expect(alone.exposed == 0 && abs(alone.efficiency - 1) < 1e-12)
  }

  @Test("weights that owners send to all others are waited for, and count as sent")
  func broadcasts() throws {
    var model = try model(bandwidth: 1e8)
    let before = model.step(nodes: 2, batch: 2048)
    model.broadcastWeights = 50_000_000
    let after = model.step(nodes: 2, batch: 2048)
    // Half of 200 MB at 100 MB/s.
    #expect(abs(after.exposed - before.exposed - 1) < 1e-9 && abs(after.bytesSent - before.bytesSent - 1e8) < 1)
    #expect(model.step(nodes: 1, batch: 2048).exposed == 0)
  }

  @Test("the batch for an efficiency reaches it, and half of it does not")
  func largerBatchesMakeSlowLinksEfficient() throws {
    let model = try model(bandwidth: 1e7)
    let batch = try #require(model.batch(nodes: 8, efficiency: 0.9))
    #expect(model.step(nodes: 8, batch: batch).efficiency >= 0.9)
    #expect(model.step(nodes: 8, batch: batch / 2).efficiency < 0.9)
  }
}
