import EagleTensor
import Testing

@Suite struct TensorTests {
  @Test("bf16 rounds to nearest even") func bfloat16RoundsToNearestEven() {
    // 1 + 2^-8 is midway between two bfloat16 numbers and is rounded to the even one; 1 + 3·2^-8 is rounded up.
    let x = Tensor([1 + 0x1p-8, 1 + 0x1.8p-7, -0.5, .infinity], [4])
    #expect(x.bfloat16().float32().values == [1, 1 + 0x1p-6, -0.5, .infinity])
    #expect(Tensor([.nan], [1]).bfloat16().float32().values[0].isNaN)
  }

  @Test("float16 values become the same float32 values") func float16Widens() {
    let x = Tensor([4], dtype: .float16)
    _ = x.buffer(UInt16.self).initialize(from: [0x3c00, 0xc000, 0x0001, 0x7c00])
    #expect(x.float32().values == [1, -2, 0x1p-24, .infinity])
  }

  @Test("gather copies the rows that it is given") func gatherCopiesRows() {
    let x = Tensor([1, 2, 3, 4, 5, 6], [3, 2])
    #expect(Rows.gather(x, [2, 0]).values == [5, 6, 1, 2])
    #expect(Rows.gather(x.bfloat16(), [1]).values == [3, 4])
  }

  @Test("rotary embedding rotates pairs of values, and its inverse rotates back") func rotaryTurnsAndTurnsBack() {
    let rotary = Rotary(headDimension: 4, theta: 10)
    let table = rotary.table(positions: [3])
    let x = Tensor([1, 2, 3, 4], [1, 4])
    rotary.rotate(x, table)
    // Pairs (x0, x2) at angle 3 and (x1, x3) at angle 3 / √10.
    let expected: [Float] = [-1.4133525, -2.0850884, -2.828857, 3.9563122]
    for (a, b) in zip(x.values, expected) { #expect(abs(a - b) < 1e-5) }
    rotary.rotate(x, table, inverse: true)
    for (a, b) in zip(x.values, [1, 2, 3, 4] as [Float]) { #expect(abs(a - b) < 1e-6) }
  }

  @Test("random numbers are repeatable, with the mean and variance asked for")
  func randomNumbersAreRepeatableAndNormal() {
    var (a, b) = (RandomSource(seed: 3), RandomSource(seed: 3))
    #expect(a.next() == b.next())
    let sample = Tensor.normal([20_000], deviation: 2, using: &a).values.map(Double.init)
    let mean = sample.reduce(0, +) / 20_000
    let variance = sample.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 20_000
    // because: standard errors are 0.014 and 0.04
    #expect(abs(mean) < 0.07 && abs(variance - 4) < 0.2)
    var other = RandomSource(seed: 3, purpose: "another")
    #expect(other.next() != b.next())
  }

  @Test("the pool reuses a free block") func poolReusesBlocks() {
    var first: Tensor? = Tensor([1000])
    let address = first!.storage.base
    first = nil
    #expect(Tensor([1001]).storage.base == address)
  }
}
