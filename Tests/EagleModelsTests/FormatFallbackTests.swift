import EagleModels
import EagleTensor
import Testing

/// The message of a quantisation about matrices that its format cannot store in blocks.
@Suite struct FormatFallbackTests {
  /// Four layers whose rows have 32 elements, 48 in `down_proj`, and a head of its own.
  private func line(_ format: WeightFormat) throws -> String? {
    try TargetModel(folder: TinyModel.folder("tiny-llama"), format: format).fallbacks.line
  }

  @Test("matrices in another format than the one asked for are counted, with their rows")
  func counts() throws {
    #expect(
      try line(.q4_k)
        == "24 of 29 matrices in q5_0 in place of q4_k: rows of 32 are no multiple of 256; "
        + "4 in float32 in place of q4_k: rows of 48 are no multiple of 32; "
        + "1 in q8_0 in place of q6_k: rows of 32 are no multiple of 256")
    #expect(
      try line(.q8_0) == "4 of 29 matrices in float32 in place of q8_0: rows of 48 are no multiple of 32")
    #expect(try line(.stored) == nil)
  }

  @Test("matrices that are in blocks stay, and are no fallback")
  func blocksStay() {
    var fallbacks = FormatFallbacks()
    fallbacks.add(Tensor.zeros([2, 576]).quantized(.q8_0), to: .q4_K)
    #expect(fallbacks.line == nil)
    fallbacks.add(Tensor.zeros([2, 576]), to: .q4_K)
    fallbacks.add(Tensor.zeros([2, 320]), to: .q4_K)
    #expect(fallbacks.line == "2 of 3 matrices in q5_0 in place of q4_k: rows of 320, 576 are no multiple of 256")
  }

  @Test("a target of random weights and a head count alike")
  func randomTargetsAndHeads() throws {
    let attention = AttentionShape(heads: 2, kvHeads: 1, headDimension: 32)
    let shape = TargetShape(
      family: .llama, hiddenSize: 64, layers: 3, attention: attention, intermediateSize: 256, vocabularySize: 64,
      ropeTheta: 10_000, maxPositions: 100)
    #expect(
      TargetModel(random: shape, seed: 0, format: .q4_k).fallbacks.line
        == "18 of 22 matrices in q5_0 in place of q4_k: rows of 64 are no multiple of 256; "
        + "1 in q8_0 in place of q6_k: rows of 64 are no multiple of 256")
    #expect(TargetModel(random: shape, seed: 0, format: .q8_0).fallbacks.line == nil)
    let target = try TargetModel(folder: TinyModel.folder("tiny-llama"))
    #expect(TinyHead(target: target).draft().fallbacks(.q8_0).line?.contains(" in place of q8_0: rows of 48") == true)
  }
}
