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
    let x = Operands(x, products)
    var (places, count) = ([Place](), 0)
    places.reserveCapacity(products.count)
    for product in products {
      places.append(Place(product, first: count))
      count = places.last!.outputs.upperBound
    }
    withExtendedLifetime(products) {
      Parallel.forEachRange(count, grain: Self.grain(count), dynamic: true) { range in
        for place in places {
          let own = range.clamped(to: place.outputs)
          if !own.isEmpty { x.multiply(place, own) }
        }
      }
    }
  }

  /// Outputs of a piece. Pieces go to threads as they become free: memory does not serve all threads alike.
  private static func grain(_ count: Int) -> Int { min(512, max(48, count / (8 * Parallel.threadCount))) }

  /// Says which weights the product after the next one takes, so that threads that wait fetch the beginning of their shares.
  static func expect(_ weights: [Tensor]) {
    let threads = Parallel.threadCount
    guard threads > 1 else { return }
    let count = weights.reduce(0) { $0 + $1.shape[0] }
    guard count > 0 else { return }
    for thread in 1..<threads {
      var output = Int(eagle_share_begin(Int64(count), Int64(grain(count)), Int64(thread)))
      for w in weights where output >= 0 {
        if output < w.shape[0] {
          eagle_expect(Int64(thread), w.storage.base + w.byteOffset + output * w.columns * w.dtype.size)
        }
        output -= w.shape[0]
      }
    }
  }

  /// Where the numbers of a product lie. Threads that took hold of its tensors for every piece would pass their reference counts
  /// to and fro.
  private struct Place {
    /// Its outputs among those of all products.
    let outputs: Range<Int>
    let type: DType
    let w: UnsafeRawPointer
    let scales: UnsafePointer<Float>?
    let bias: UnsafePointer<Float>?
    let y: UnsafeMutablePointer<Float>
    let stride: Int64

    init(_ product: Product, first: Int) {
      let w = product.w
      outputs = first..<first + w.shape[0]
      type = w.dtype
      switch w.dtype {
      case .bfloat16: self.w = UnsafeRawPointer(w.bfloats)
      case .int8: self.w = UnsafeRawPointer(w.int8s)
      default: self.w = UnsafeRawPointer(w.floats)
      }
      scales = w.dtype == .int8 ? UnsafePointer(w.scales) : nil
      bias = product.bias.map { UnsafePointer($0.floats) }
      (y, stride) = (product.y.floats, Int64(product.y.columns))
    }
  }

  /// x in the forms that the weights ask for.
  private struct Operands {
    private static let lanes = eagle_few_rows_lanes()
    private let plain: Tensor
    private let (rows, inputs): (Int64, Int64)
    private let ordered: Tensor?  // for bfloat16 weights
    private let quantized: QuantizedRows?  // for 8-bit weights

    init(_ x: Tensor, _ products: [Product]) {
      plain = x
      (rows, inputs) = (Int64(x.rows), Int64(x.columns))
      quantized = products.contains { $0.w.dtype == .int8 } ? QuantizedRows(x) : nil
      ordered = products.contains { $0.w.dtype == .bfloat16 } ? Tensor(x.shape) : nil
      if let ordered {
        let width = x.columns
        Parallel.forEachRange(x.rows, grain: 16) { range in
          let at = range.lowerBound * width
          eagle_few_rows_order(Self.lanes, x.floats + at, ordered.floats + at, Int64(range.count), Int64(width))
        }
      }
    }

    /// - Parameter own: a part of the place's outputs, counted as they are
    func multiply(_ place: Place, _ own: Range<Int>) {
      let begin = place.outputs.lowerBound
      let (first, end) = (Int64(own.lowerBound - begin), Int64(own.upperBound - begin))
      switch place.type {
      case .bfloat16:
        eagle_few_rows_bf16(
          Self.lanes, ordered!.floats, rows, inputs, place.w.assumingMemoryBound(to: UInt16.self), place.bias, place.y,
          place.stride, first, end)
      case .int8:
        eagle_few_rows_int8(
          quantized!.values, quantized!.scales.floats, rows, inputs, place.w.assumingMemoryBound(to: Int8.self),
          place.scales!, place.bias, place.y, place.stride, first, end, Int32(EAGLE_INT8_BEST))
      default:
        eagle_few_rows_f32(
          Self.lanes, plain.floats, rows, inputs, place.w.assumingMemoryBound(to: Float.self), place.bias, place.y,
          place.stride, first, end)
      }
    }
  }
}
