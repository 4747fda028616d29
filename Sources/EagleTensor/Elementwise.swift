import CEagleKernels

/// The activation function of a gated feed-forward layer, which combines a gate g with u.
package enum GateActivation: Sendable, Hashable {
  /// silu(g) · u
  case silu
  /// gelu(g) · u, in the approximation by tanh.
  case geluTanh
  /// g · sigmoid(1.702 g) · (u + 1), g at most `limit` and u within ± `limit`.
  case clippedSiLU(limit: Float)

  var kind: eagle_gate {
    switch self {
    case .silu: EAGLE_SILU
    case .geluTanh: EAGLE_GELU_TANH
    case .clippedSiLU: EAGLE_CLIPPED_SILU
    }
  }

  var limit: Float { if case .clippedSiLU(let limit) = self { limit } else { 0 } }
}

/// Element-wise ops on float32 tensors of equal shape.
package enum Elementwise {
  /// y = silu(gate) · up
  package static func swiglu(_ gate: Tensor, _ up: Tensor) -> Tensor {
    precondition(gate.shape == up.shape, "swiglu of \(gate.shape) and \(up.shape)")
    let y = Tensor(gate.shape)
    forEach(y) { offset, n in eagle_swiglu(gate.floats + offset, up.floats + offset, y.floats + offset, n) }
    return y
  }

  /// The activation of a gate, combined with up.
  package static func gated(_ gate: Tensor, _ up: Tensor, _ activation: GateActivation) -> Tensor {
    precondition(gate.shape == up.shape, "gate of \(gate.shape) and \(up.shape)")
    let y = Tensor(gate.shape)
    forEach(y) { offset, n in
      eagle_gated(activation.kind, activation.limit, gate.floats + offset, up.floats + offset, y.floats + offset, n)
    }
    return y
  }

  /// y = a + b
  package static func sum(_ a: Tensor, _ b: Tensor) -> Tensor {
    precondition(a.shape == b.shape, "sum of \(a.shape) and \(b.shape)")
    let y = Tensor(a.shape)
    forEach(y) { offset, n in eagle_add(a.floats + offset, b.floats + offset, y.floats + offset, n) }
    return y
  }

  /// y += x
  package static func accumulate(_ x: Tensor, into y: Tensor) {
    precondition(x.count == y.count, "\(x.shape) added to \(y.shape)")
    forEach(y) { offset, n in eagle_accumulate(x.floats + offset, y.floats + offset, n) }
  }

  /// y += x for `count` elements, on the calling thread.
  package static func accumulate(
    _ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int
  ) {
    eagle_accumulate(x, y, Int64(count))
  }

  /// y += factor · x for `count` elements, on the calling thread.
  package static func accumulate(
    _ x: UnsafePointer<Float>, times factor: Float, into y: UnsafeMutablePointer<Float>, count: Int
  ) {
    if factor == 1 { eagle_accumulate(x, y, Int64(count)) } else { eagle_add_scaled(y, factor, x, Int64(count)) }
  }

  /// y += factor · x
  package static func accumulate(_ x: Tensor, times factor: Float, into y: Tensor) {
    precondition(x.count == y.count, "\(x.shape) added to \(y.shape)")
    forEach(y) { offset, n in
      accumulate(x.floats + offset, times: factor, into: y.floats + offset, count: Int(n))
    }
  }

  /// x = factor · x
  package static func scale(_ x: Tensor, by factor: Float) {
    forEach(x) { offset, n in eagle_scale(x.floats + offset, factor, n) }
  }

  /// x = cap · tanh(x / cap)
  package static func softcap(_ x: Tensor, at cap: Float) {
    forEach(x) { offset, n in eagle_softcap(x.floats + offset, 1, cap, n) }
  }

  package static func forEach(_ y: Tensor, _ body: (Int, Int64) -> Void) {
    Parallel.forEachRange(y.count, grain: 1 << 14) { body($0.lowerBound, Int64($0.count)) }
  }
}

extension Elementwise {
  /// y = x
  package static func copy(_ x: Tensor, into y: Tensor) {
    precondition(x.count == y.count, "\(x.shape) copied to \(y.shape)")
    forEach(y) { offset, n in (y.floats + offset).update(from: x.floats + offset, count: Int(n)) }
  }
}
