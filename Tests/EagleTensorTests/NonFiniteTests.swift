import EagleTensor
import Testing

@Suite struct NonFiniteTests {
  /// Bit patterns of one type: finite numbers, the largest and the smallest ones among them, and others.
  struct Patterns: Sendable {
    let dtype: DType
    let finite: [UInt32]
    let nonFinite: [UInt32]
  }

  static let types = [
    Patterns(
      dtype: .float32, finite: [0, 0x8000_0000, 1, 0x007f_ffff, 0x7f7f_ffff, 0xff7f_ffff, 0x3f80_0000],
      nonFinite: [0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001, 0xffff_ffff]),
    Patterns(
      dtype: .bfloat16, finite: [0, 0x8000, 1, 0x7f, 0x7f7f, 0xff7f, 0x3f80],
      nonFinite: [0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff]),
    Patterns(
      dtype: .float16, finite: [0, 0x8000, 1, 0x3ff, 0x7bff, 0xfbff, 0x3c00],
      nonFinite: [0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff]),
  ]

  private func tensor(_ patterns: [UInt32], _ dtype: DType) -> Tensor {
    let tensor = Tensor([patterns.count], dtype: dtype)
    if dtype.size == 4 {
      _ = tensor.buffer(UInt32.self).initialize(from: patterns)
    } else {
      _ = tensor.buffer(UInt16.self).initialize(from: patterns.map { UInt16($0) })
    }
    return tensor
  }

  @Test("NaN and infinities are found in every float type, wherever they lie, and nothing else is", arguments: types)
  func valuesAreFound(of type: Patterns) {
    for length in [1, 15, 64, 4095, 4096, 4097, 9000] {
      let finite = (0..<length).map { type.finite[$0 % type.finite.count] }
      #expect(
        NonFinite(in: UnsafeRawBufferPointer(tensor(finite, type.dtype).rawBytes), dtype: type.dtype) == NonFinite())
      for (index, pattern) in type.nonFinite.enumerated() {
        var values = finite
        let places = Set([length - 1, (length - 1) * index / type.nonFinite.count, length / 2]).sorted()
        for place in places { values[place] = pattern }
        let found = NonFinite(in: UnsafeRawBufferPointer(tensor(values, type.dtype).rawBytes), dtype: type.dtype)
        #expect(found.count == places.count && found.first == places[0], "\(length) values of \(type.dtype)")
        // The plain reference: widened values.
        let plain = tensor(values, type.dtype).float32().values.enumerated().filter { !$0.element.isFinite }
        #expect(found.count == plain.count && found.first == plain.first?.offset)
      }
    }
  }

  @Test("whole numbers are never non-finite")
  func wholeNumbersPass() {
    let tensor = Tensor([8], dtype: .int32)
    tensor.buffer(Int32.self).initialize(repeating: -1)
    #expect(NonFinite(in: UnsafeRawBufferPointer(tensor.rawBytes), dtype: .int32) == NonFinite())
  }
}
