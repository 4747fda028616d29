import EagleStorage
import EagleTensor
import Testing

@Suite struct NonFiniteBlocksTests {
  /// A format, and the offsets of the float16 scales of its blocks.
  static let scales: [(DType, [Int])] = [
    (.q8_0, [0]), (.q4_0, [0]), (.q4_1, [0, 2]), (.q5_0, [0]), (.q5_1, [0, 2]), (.iq4_nl, [0]), (.q4_K, [0, 2]),
    (.q5_K, [0, 2]), (.q6_K, [208]), (.iq4_xs, [0]),
  ]

  private func found(_ format: DType, _ bytes: [UInt8]) -> NonFinite {
    bytes.withUnsafeBytes { NonFinite(inBlocks: $0, dtype: format) }
  }

  @Test("a block whose scale is NaN or infinite counts with all its elements", arguments: scales)
  func blocks(format: DType, places: [Int]) {
    let bytes = [UInt8](repeating: 0x35, count: 4 * format.blockBytes)
    #expect(found(format, bytes).count == 0)
    for place in places {
      for value in [[0x00, 0x7c], [0x00, 0xfc], [0x01, 0x7e]] as [[UInt8]] {
        var broken = bytes
        broken.replaceSubrange(2 * format.blockBytes + place..<2 * format.blockBytes + place + 2, with: value)
        let result = found(format, broken)
        #expect(result.count == format.blockLength && result.first == 2 * format.blockLength, "\(place) \(value)")
      }
    }
  }

  @Test("MXFP4 has a NaN scale, and elements beyond float32")
  func exponents() {
    func block(_ exponent: UInt8, _ codes: UInt8) -> [UInt8] { [exponent] + [UInt8](repeating: codes, count: 16) }
    let sound = block(252, 0x77) + block(0, 0x77)
    #expect(found(.mxfp4, sound).count == 0)
    #expect(found(.mxfp4, sound + block(255, 0)).first == 64)
    #expect(found(.mxfp4, sound + block(255, 0)).count == 32)
    // 6 · 2^126 in the low halves, 0 in the high ones.
    #expect(found(.mxfp4, sound + block(253, 0x07)).count == 16)
    #expect(found(.mxfp4, block(253, 0x33)).count == 0)
  }
}
