import CEagleKernels
import EagleTensor

extension Tape {
  /// forward: y = a + b   so   da += dy,  db += dy
  public func add(_ a: Variable, _ b: Variable) -> Variable {
    result(Elementwise.sum(a.value, b.value), of: [a, b]) { dy in
      a.gradientToAccumulate().map { Elementwise.accumulate(dy, into: $0) }
      b.gradientToAccumulate().map { Elementwise.accumulate(dy, into: $0) }
    }
  }

  /// forward: y = silu(gate) · up, silu(g) = g s, s = 1 / (1 + e^−g)
  /// backward: dgate += dy · up · s (1 + gate (1 − s)),  dup += dy · silu(gate)
  public func swiglu(_ gate: Variable, _ up: Variable) -> Variable {
    result(Elementwise.swiglu(gate.value, up.value), of: [gate, up]) { dy in
      let dgate = gate.gradientToAccumulate() ?? Tensor(gate.shape)
      let dup = up.gradientToAccumulate() ?? Tensor(up.shape)
      Elementwise.forEach(dy) { offset, n in
        eagle_swiglu_backward(
          dy.floats + offset, gate.value.floats + offset, up.value.floats + offset, dgate.floats + offset,
          dup.floats + offset, n)
      }
    }
  }

  /// forward: y = R x, R the rotation of each row's position   so   dx += Rᵀ dy, the rotation back
  public func rotary(_ x: Variable, _ rotary: Rotary, _ table: Rotary.Table) -> Variable {
    let y = Tensor(x.shape)
    Elementwise.copy(x.value, into: y)
    rotary.rotate(y, table)
    return result(y, of: [x]) { dy in
      guard let dx = x.gradientToAccumulate() else { return }
      rotary.rotate(dy, table, inverse: true)
      Elementwise.accumulate(dy, into: dx)
    }
  }
}
