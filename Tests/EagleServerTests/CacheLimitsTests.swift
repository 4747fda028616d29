import EagleModels
import EagleServer
import EagleTensor
import Testing

@Suite struct CacheLimitsTests {
  /// 2 layers of 2 key heads with 8 numbers: 256 bytes a token. 1,000 positions.
  private let target: TargetModel

  init() {
    let attention = AttentionShape(heads: 4, kvHeads: 2, headDimension: 8)
    target = TargetModel(
      random: TargetShape(
        family: .llama, hiddenSize: 32, layers: 2, attention: attention, intermediateSize: 32,
        vocabularySize: 64, ropeTheta: 10_000, maxPositions: 1000),
      seed: 0)
  }

  private func limits(available: Int = 1 << 30, _ change: (inout ServerConfig) -> Void = { _ in }) throws
    -> CacheLimits
  {
    var config = ServerConfig(modelName: "m")
    change(&config)
    return try CacheLimits(config, target: target, draft: nil, availableBytes: available)
  }

  @Test("without a word caches take half of what is free beside the weights, and the context is the model's")
  func defaults() throws {
    let limits = try limits()
    #expect(limits.bytes == ((1 << 30) - target.weightBytes) / 2 && limits.tokens == limits.bytes / 256)
    #expect(limits.context == 1000)
  }

  @Test("with less memory the context is what fits")
  func littleMemory() throws {
    #expect(try limits { $0.cacheBytes = 256 * 700 }.context == 700)
  }

  @Test("a context that the memory or the model cannot have is an error that says what to do")
  func impossibleContexts() {
    func message(_ change: @escaping (inout ServerConfig) -> Void) -> String {
      do {
        return "\(try limits(change))"
      } catch { return "\(error)" }
    }
    let tooLarge = message {
      $0.context = 800
      $0.cacheBytes = 256 * 700
    }
    #expect(tooLarge.contains("a context of 800 tokens") && tooLarge.contains("--cache-memory"))
    #expect(message { $0.context = 1001 }.contains("the target has 1000 positions"))
    #expect(message { $0.cacheBytes = 1 }.contains("--cache-memory"))
  }
}
