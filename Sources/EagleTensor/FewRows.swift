import CEagleKernels

// R rows · I inputs · O outputs.

/// The products of decoding: few rows, large weights that come from memory once, and bits that do not depend on how many
/// rows there are or on how the outputs are shared among threads.
struct FewRows {
  struct Product {
    let w: Tensor  // [O, I]
    let bias: Tensor?  // [O]
    let y: Tensor  // [R, O]
  }

  private let x: Tensor  // [R, I]

  init(_ x: Tensor) { self.x = x }

  /// Fills every y. All products share x and one start of the threads.
  func run(_ products: [Product]) {
    let x = Operands(x, types: Set(products.map(\.w.dtype)))
    let ends = products.reduce(into: [0]) { $0.append($0.last! + $1.w.shape[0]) }
    // Pieces as threads become free: memory does not serve all threads alike.
    let grain = min(512, max(48, ends.last! / (8 * Parallel.threadCount)))
    Parallel.forEachRange(ends.last!, grain: grain, dynamic: true) { range in
      for (product, first) in zip(products, ends) {
        let own = range.clamped(to: first..<first + product.w.shape[0])
        if !own.isEmpty { x.multiply(product, own.lowerBound - first..<own.upperBound - first) }
      }
    }
  }

  /// x in the forms that the weights ask for.
  private struct Operands {
    private let plain: Tensor
    private let ordered: Tensor?  // for bfloat16 weights
    private let quantized: QuantizedRows?  // for 8-bit weights

    init(_ x: Tensor, types: Set<DType>) {
      plain = x
      quantized = types.contains(.int8) ? QuantizedRows(x) : nil
      ordered = types.contains(.bfloat16) ? Tensor(x.shape) : nil
      if let ordered {
        let width = x.columns
        Parallel.forEachRange(x.rows, grain: 16) { range in
          let at = range.lowerBound * width
          eagle_few_rows_order(x.floats + at, ordered.floats + at, Int64(range.count), Int64(width))
        }
      }
    }

    func multiply(_ product: Product, _ outputs: Range<Int>) {
      let (w, y) = (product.w, product.y)
      let (rows, inputs, stride) = (Int64(plain.rows), Int64(plain.columns), Int64(y.columns))
      let (first, end) = (Int64(outputs.lowerBound), Int64(outputs.upperBound))
      let bias = product.bias?.floats
      switch w.dtype {
      case .bfloat16:
        eagle_few_rows_bf16(ordered!.floats, rows, inputs, w.bfloats, bias, y.floats, stride, first, end)
      case .int8:
        eagle_few_rows_int8(
          quantized!.values, quantized!.scales.floats, rows, inputs, w.int8s, w.scales, bias, y.floats, stride, first,
          end, Int32(EAGLE_INT8_BEST))
      default: eagle_few_rows_f32(plain.floats, rows, inputs, w.floats, bias, y.floats, stride, first, end)
      }
    }
  }
}
