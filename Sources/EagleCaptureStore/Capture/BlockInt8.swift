import EagleTensor

// R rows · H width of a state · n states of a row · B blocks of a state.

/// States in 8 bits: x[r, i] ≈ scale[r, block of i] · q[r, i] with q in -127...127.
///
/// A block is 64 elements of one state, and the last block of a state is what remains. scale = max |x| / 127, rounded
/// to bfloat16. The error of an element is half a scale at most, and one scale next to the largest element.
struct BlockInt8 {
  static let blockWidth = 64

  let hiddenSize: Int
  let values: Tensor  // int8 [R, n · H]
  let scales: Tensor  // bfloat16 [R, n · B]

  static func blocks(columns: Int, hiddenSize: Int) -> Int {
    columns / hiddenSize * ((hiddenSize + blockWidth - 1) / blockWidth)
  }

  /// Uninitialised states, for a reader to fill.
  init(rows: Int, columns: Int, hiddenSize: Int) {
    self.hiddenSize = hiddenSize
    values = Tensor([rows, columns], dtype: .int8)
    scales = Tensor([rows, Self.blocks(columns: columns, hiddenSize: hiddenSize)], dtype: .bfloat16)
  }

  /// - Parameter states: bfloat16 [R, n · H]
  init(_ states: Tensor, hiddenSize: Int) {
    precondition(states.columns % hiddenSize == 0, "\(states.shape) for states of \(hiddenSize)")
    self.init(rows: states.rows, columns: states.columns, hiddenSize: hiddenSize)
    let (x, q, scales) = (states.bfloats, elements, self.scales.bfloats)
    forEachBlock { scale, elements in
      scales[scale] = Self.quantize(x + elements.lowerBound, q + elements.lowerBound, elements.count)
    }
  }

  /// Start of the elements.
  var elements: UnsafeMutablePointer<Int8> { values.rawBytes.baseAddress!.assumingMemoryBound(to: Int8.self) }

  /// bfloat16 [R, n · H]
  func dequantized() -> Tensor {
    let result = Tensor(values.shape, dtype: .bfloat16)
    let (x, q, scales) = (result.bfloats, elements, self.scales.bfloats)
    forEachBlock { scale, elements in
      let scale = BFloat16.widen(scales[scale])
      for i in elements { x[i] = BFloat16.round(scale * Float(q[i])) }
    }
    return result
  }

  /// Calls `body` for each block with the index of its scale and the indices of its elements, on all threads.
  private func forEachBlock(_ body: (Int, Range<Int>) -> Void) {
    let (columns, blocks) = (values.columns, scales.columns)
    Parallel.forEachRange(values.rows, grain: 64) { rows in
      for row in rows {
        var scale = row * blocks
        for state in stride(from: row * columns, to: (row + 1) * columns, by: hiddenSize) {
          for first in stride(from: state, to: state + hiddenSize, by: Self.blockWidth) {
            body(scale, first..<min(first + Self.blockWidth, state + hiddenSize))
            scale += 1
          }
        }
      }
    }
  }

  /// Writes the block's elements and returns its scale.
  private static func quantize(_ x: UnsafePointer<UInt16>, _ q: UnsafeMutablePointer<Int8>, _ count: Int) -> UInt16 {
    var largest: Float = 0
    for i in 0..<count {
      let value = BFloat16.widen(x[i])
      guard value.isFinite else {
        // A scale that is not finite makes the whole block non-finite, for the trainer to notice.
        for j in 0..<count { q[j] = 1 }
        return BFloat16.nan
      }
      largest = max(largest, abs(value))
    }
    let bits = BFloat16.round(largest / 127)
    let scale = BFloat16.widen(bits)
    let inverse = scale > 0 ? 1 / scale : 0
    for i in 0..<count { q[i] = Int8(max(-127, min(127, (BFloat16.widen(x[i]) * inverse).rounded()))) }
    return bits
  }
}
