import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import Foundation

/// Benchmarks decoding passes over 1 to 8 tokens on a target with random weights, compared with the bytes that they
/// read.
package enum PassBenchmark {
  package struct Report: Codable, Sendable {
    package var benchmark = "passes"
    package var shape: BenchmarkShape
    package var weights: WeightFormat
    package var threads: Int
    package var path: String
    /// The bytes that a pass of one token reads, and the seconds of a plain read of them.
    package var bytes: Int
    package var readingSeconds: Double
    /// A line about the matrices in another format; nil if all have the format of `weights`.
    package var fallbacks: String?
    package var passes: [Pass]

    enum CodingKeys: String, CodingKey {
      case benchmark, shape, weights, threads, path, bytes, fallbacks, passes
      case readingSeconds = "reading_seconds"
    }
  }

  package struct Pass: Codable, Sendable {
    package var tokens: Int
    package var seconds: Double
    /// Its time divided by that of one token.
    package var ratio: Double
    /// The same ratio for the bytes that were read: above 1 if more tokens use more experts.
    package var byteRatio: Double

    enum CodingKeys: String, CodingKey {
      case tokens, seconds, ratio
      case byteRatio = "byte_ratio"
    }
  }

  /// - Parameter format: the format of the target's random weights
  package static func run(
    _ shape: BenchmarkShape, format: WeightFormat, precision: ComputePrecision
  ) throws -> Report {
    let target = TargetModel(random: shape.target(), seed: 0, format: format, precision: precision)
    let vocabulary = DraftVocabulary.mostFrequent(
      counts: [Int](repeating: 1, count: shape.vocabularySize), size: shape.draftVocabularySize, always: [])
    let draft = DraftModel.random(
      shape: shape.draft(vocabularySize: shape.draftVocabularySize), vocabulary: vocabulary, seed: 0)
    let costs = try DecodingCosts.measure(target: target, draft: draft.rounded(), maxTokens: 8)
    let (one, bytes) = (costs.targetPass[0], DecodingCosts.bytesRead(target: target, maxTokens: 8))
    let passes = costs.targetPass.enumerated().map { index, seconds in
      Pass(
        tokens: index + 1, seconds: seconds, ratio: seconds / one,
        byteRatio: Double(bytes[index]) / Double(bytes[0]))
    }
    return Report(
      shape: shape, weights: format, threads: Parallel.threadCount, path: Matmul.describe(batchInvariant: precision),
      bytes: target.weightBytes, readingSeconds: costs.reading?.seconds ?? 0,
      fallbacks: target.fallbacks.line, passes: passes)
  }
}

extension PassBenchmark.Report {
  private static func figure(_ value: Double) -> String { String(format: "%.2f", value) }

  package func lines() -> [String] {
    let rate = Double(bytes) / readingSeconds / 1e9
    let head =
      "passes of \(shape.rawValue), weights \(weights.rawValue), \(Format.count(threads, "thread")), \(path): \(Self.figure(Double(bytes) / 1e9)) GB a token, "
      + "read plainly in \(Self.figure(readingSeconds * 1000)) ms (\(Self.figure(rate)) GB/s)"
    return [head]
      + passes.map {
        "\($0.tokens) tokens: \(Self.figure($0.seconds * 1000)) ms, \(Self.figure($0.ratio)) of one; "
          + "bytes \(Self.figure($0.byteRatio))"
      }
  }
}
