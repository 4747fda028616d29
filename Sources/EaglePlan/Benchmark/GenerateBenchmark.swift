import EagleCore
import EagleDecoding
import EagleModels
import EagleTensor

/// Benchmarks batched decoding as in `regenerate`, on a target with random weights.
package enum GenerateBenchmark {
  package struct Report: Codable, Sendable {
    package var benchmark = "generate"
    package var shape: BenchmarkShape
    package var promptTokens: Int
    package var newTokens: Int
    package var threads: Int
    /// The GEMM implementations of prefill and decoding.
    package var path: String
    package var batches: [Batch]

    enum CodingKeys: String, CodingKey {
      case benchmark, shape, threads, path, batches
      case promptTokens = "prompt_tokens"
      case newTokens = "new_tokens"
    }
  }

  package struct Batch: Codable, Sendable {
    /// The batch size in sequences; twice as many sequences are decoded.
    package var batch: Int
    package var seconds: Double
    /// The new tokens per second, including the time of prefill.
    package var tokensPerSecond: Double
    /// The peak resident memory of the process so far, in bytes.
    package var peakRSS: Int

    enum CodingKeys: String, CodingKey {
      case batch, seconds
      case tokensPerSecond = "tokens_per_second"
      case peakRSS = "peak_rss"
    }
  }

  package static func run(
    _ shape: BenchmarkShape, batches: [Int], promptTokens: Int, newTokens: Int, precision: ComputePrecision
  ) throws -> Report {
    let target = TargetModel(random: shape.target(), seed: 0, precision: precision)
    let measured = try batches.map { batch in
      let generator = BatchGenerator(target: target, width: batch, stopIDs: [])
      var random = RandomSource(seed: 0, purpose: "benchmark prompts")
      var begun = 0
      let seconds = try ContinuousClock().measure {
        try generator.run(
          next: {
            guard begun < 2 * batch else { return nil }
            begun += 1
            let prompt = (0..<promptTokens).map { _ in
              Int32.random(in: 0..<Int32(target.shape.vocabularySize), using: &random)
            }
            return DecodingRequest(id: begun, prompt: prompt, maxNewTokens: newTokens)
          }, finished: { _, _ in nil })
      }.inSeconds
      return Batch(
        batch: batch, seconds: seconds, tokensPerSecond: Double(2 * batch * newTokens) / seconds,
        peakRSS: BenchmarkReport.peakRSS())
    }
    return Report(
      shape: shape, promptTokens: promptTokens, newTokens: newTokens, threads: Parallel.threadCount,
      path: "\(Matmul.describe(precision)), \(Matmul.describe(batchInvariant: precision))", batches: measured)
  }
}

extension GenerateBenchmark.Report {
  package func lines() -> [String] {
    [
      "\(shape.rawValue), prompts of \(promptTokens) tokens, \(newTokens) new ones, \(Format.count(threads, "thread")), \(path)"
    ]
      + batches.map {
        "batch \($0.batch): \(Int($0.tokensPerSecond.rounded())) tokens/s, peak memory \($0.peakRSS / 1_000_000) MB"
      }
  }
}
