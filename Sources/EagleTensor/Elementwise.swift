import CEagleKernels

/// Element-wise ops on float32 tensors of equal shape.
package enum Elementwise {
  /// y = silu(gate) · up
  package static func swiglu(_ gate: Tensor, _ up: Tensor) -> Tensor {
    precondition(gate.shape == up.shape, "swiglu of \(gate.shape) and \(up.shape)")
    let y = Tensor(gate.shape)
    forEach(y) { offset, n in eagle_swiglu(gate.floats + offset, up.floats + offset, y.floats + offset, n) }
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
