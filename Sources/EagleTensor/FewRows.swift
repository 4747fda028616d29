import CEagleKernels

// R rows · I inputs · O outputs.

/// The products of decoding: few rows, large weights that come from memory once, and bits that do not depend on how many
/// rows there are or on how the outputs are shared among threads.
enum FewRows {
  /// The products of x [R, I] with several weights [O, I], [R, O] each. The threads start once for all.
  static func products(_ x: Tensor, _ weights: [(w: Tensor, bias: Tensor?)], _ mode: MatmulMode) -> [Tensor] {
    let (rows, inputs) = (x.rows, x.columns)
    let group = WeightGroup(weights)
    precondition(weights[0].w.columns == inputs, "products of \(x.shape) with weights \(weights[0].w.shape)")
    let results = Storage(byteCount: rows * weights.reduce(0) { $0 + $1.w.shape[0] } * DType.float32.size)
    let scratch = Storage(byteCount: WeightGroup.scratchBytes(rows: rows, inputs: inputs))
    withExtendedLifetime((group, scratch)) {
      group.multiply(
        SmallMatmulInput(x.floats, mode), rows: rows, into: results.base.assumingMemoryBound(to: Float.self),
        scratch: scratch.base)
    }
    var offset = 0
    return weights.map {
      let shape = [rows, $0.w.shape[0]]
      defer { offset += rows * shape[1] * DType.float32.size }
      return Tensor(shape, dtype: .float32, storage: results, byteOffset: offset)
    }
  }
}

extension eagle_factor {
  /// What is multiplied, [R, I]: x; normed with a weight [I] where there is one; silu(x) · up where there is an up.
  init(
    _ x: UnsafePointer<Float>, norm: UnsafePointer<Float>? = nil, epsilon: Float = 0, up: UnsafePointer<Float>? = nil,
    _ mode: MatmulMode
  ) {
    self.init(x: x, norm: norm, epsilon: epsilon, up: up, rounded: mode.roundsRows ? 1 : 0)
  }
}

extension eagle_weights {
  /// Where a weight [O, I] and its bias [O] lie. Whoever uses it keeps both alive.
  init(_ w: Tensor, bias: Tensor? = nil) {
    self.init()
    self.w = UnsafeRawPointer(w.storage.base + w.byteOffset)
    outputs = Int64(w.shape[0])
    self.bias = bias.map { UnsafePointer($0.floats) }
    switch w.dtype {
    case .bfloat16: type = EAGLE_WEIGHTS_BF16
    case .int8: (type, scales) = (EAGLE_WEIGHTS_INT8, UnsafePointer(w.scales))
    default:
      precondition(w.dtype == .float32, "a product with weights of \(w.dtype)")
      type = EAGLE_WEIGHTS_F32
    }
  }
}
