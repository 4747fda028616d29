import CEagleKernels

// R rows · I inputs · O outputs.

/// The small-M matmuls of decoding: few rows, large weights that come from memory once, and bits that do not depend on
/// the number of rows or on how the outputs are partitioned among threads.
enum SmallMatmul {
  /// The matmuls of x [R, I] with several weights [O, I], [R, O] each, in one parallel loop.
  static func apply(_ x: Tensor, _ weights: [(w: Tensor, bias: Tensor?)], _ mode: MatmulMode) -> [Tensor] {
    let (rows, inputs) = (x.rows, x.columns)
    let group = WeightGroup(weights)
    precondition(weights[0].w.columns == inputs, "matmul of \(x.shape) with weights \(weights[0].w.shape)")
    let results = Storage(byteCount: rows * weights.reduce(0) { $0 + $1.w.shape[0] } * DType.float32.size)
    let scratch = Storage(byteCount: WeightGroup.scratchBytes(rows: rows, inputs: inputs))
    withExtendedLifetime((group, scratch)) {
      group.multiply(
        SmallMatmulInput(x.floats, mode), rows: rows, into: results.base.assumingMemoryBound(to: Float.self),
        scratch: scratch.base)
    }
    return split(results, rows: rows, weights.map { $0.w.shape[0] })
  }

  /// The results, which are stored one after the other in a storage.
  private static func split(_ results: Storage, rows: Int, _ outputs: [Int]) -> [Tensor] {
    var offset = 0
    return outputs.map { count in
      defer { offset += rows * count * DType.float32.size }
      return Tensor([rows, count], dtype: .float32, storage: results, byteOffset: offset)
    }
  }
}

extension eagle_activation {
  /// The activation operand x [R, I]. The caller sets its rows and columns.
  init(_ x: UnsafePointer<Float>, _ mode: MatmulMode) {
    self.init()
    (self.x, is_rounded, is_quantized) = (x, mode.roundsRows ? 1 : 0, mode.quantizesRows ? 1 : 0)
  }
}

extension eagle_weights {
  /// The addresses of a weight [O, I] and of its bias [O], and of its tiles where it has them. The caller keeps all of
  /// them alive.
  init(_ w: Tensor, bias: Tensor? = nil) {
    self.init()
    self.w = UnsafeRawPointer(w.storage.base + w.byteOffset)
    outputs = Int64(w.shape[0])
    self.bias = bias.map { UnsafePointer($0.floats) }
    guard let type = w.dtype.weightType else { preconditionFailure("a matmul with weights of \(w.dtype)") }
    self.type = type
    tiles = w.tiles?.address
  }
}
