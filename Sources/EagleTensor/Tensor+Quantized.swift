import CEagleKernels

// O outputs · I inputs.

extension Tensor {
  /// A weight [O, I] in 8 bits: w[o, i] ≈ scale[o] · q[o, i] with q in -127...127, scale[o] = max |w[o]| / 127.
  ///
  /// It takes half the bytes of bfloat16, so decoding, which waits for memory, is up to twice as fast. A weight is off
  /// by at most half a scale; the sums of products are exact integers.
  package func quantized() -> Tensor {
    precondition(shape.count == 2, "only matrices are quantized, not \(shape)")
    let (outputs, inputs) = (shape[0], shape[1])
    let scales = Storage(byteCount: outputs * MemoryLayout<Float>.size)
    let result = Tensor(
      shape, dtype: .int8, storage: Storage(byteCount: outputs * inputs), byteOffset: 0, rowScales: scales)
    let blockRows = max(1, (4 << 20) / max(1, inputs))  // a float32 copy of a whole head would be large
    for first in stride(from: 0, to: outputs, by: blockRows) {
      let wide = slice(first..<min(first + blockRows, outputs)).float32()
      Parallel.forEachRange(wide.rows, grain: 64) { range in
        for row in range {
          result.scales[first + row] = eagle_quantize_int8(
            wide.floats + row * inputs, result.int8s + (first + row) * inputs, Int64(inputs))
        }
      }
    }
    return result
  }

  /// The address of the 8-bit elements of a quantized matrix.
  var int8s: UnsafeMutablePointer<Int8> {
    precondition(dtype == .int8, "int8s of a \(dtype) tensor")
    return (storage.base + byteOffset).assumingMemoryBound(to: Int8.self)
  }

  /// The address of the scales of its rows.
  var scales: UnsafeMutablePointer<Float> {
    rowScales!.base.assumingMemoryBound(to: Float.self) + byteOffset / max(1, columns)
  }
}
