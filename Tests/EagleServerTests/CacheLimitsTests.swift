import EagleModels
import EagleServer
import EagleTensor
import Testing

@Suite struct CacheLimitsTests {
  /// 2 layers of 2 key heads with 8 numbers: 256 bytes per token. 1,000 positions.
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

  /// A target whose layers have the windows of these types, with 128 bytes of keys and values per token in each.
  private func windowed(_ types: [String]) -> TargetModel {
    TargetModel(
      random: TargetShape(
        family: .ministral, hiddenSize: 32, layers: types.count,
        attention: AttentionShape(heads: 4, kvHeads: 2, headDimension: 8), intermediateSize: 32, vocabularySize: 64,
        ropeTheta: 10_000, maxPositions: 5000, more: ["sliding_window": 100, "layer_types": types]), seed: 0)
  }

  @Test("a layer with a window counts as the entries that it holds at most")
  func windows() throws {
    var config = ServerConfig(modelName: "m")
    (config.batch, config.cacheBytes) = (1, 128 * (3000 + 456))
    // A window of 100 needs 2 · 100 - 1 entries and those of the longest pass, 257.
    let mixed = windowed(["full_attention", "sliding_attention"])
    let limits = try CacheLimits(config, target: mixed, draft: nil, availableBytes: 0)
    #expect(limits.context == 3000 && limits.tokens == 3000)
    config.context = 3001
    #expect(throws: ServerError.self) { try CacheLimits(config, target: mixed, draft: nil, availableBytes: 0) }
    // Three complete sequences, and 50 tokens of another.
    let short = windowed(["sliding_attention", "sliding_attention"])
    (config.context, config.cacheBytes) = (nil, 256 * (3 * 456 + 50))
    let many = try CacheLimits(config, target: short, draft: nil, availableBytes: 0)
    #expect(many.context == 5000 && many.tokens == 3 * 5000 + 50)
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
