import CEagleKernels
import EagleTensor

extension Tape {
  /// forward: y = a + b   so   da += dy,  db += dy
  package func add(_ a: Variable, _ b: Variable) -> Variable {
    result(Elementwise.sum(a.value, b.value), of: [a, b]) { dy in
      self.seed(a, with: dy)
      b.addGradient(giving: dy)
    }
  }

  /// forward: y = silu(gate) · up, silu(g) = g s, s = 1 / (1 + e^−g)
  /// backward: dgate += dy · up · s (1 + gate (1 − s)),  dup += dy · silu(gate)
  package func swiglu(_ gate: Variable, _ up: Variable) -> Variable {
    result(Elementwise.swiglu(gate.value, up.value), of: [gate, up]) { dy in
      let dup = Tensor(up.shape)
      // dgate is written over dy.
      Elementwise.forEach(dy) { offset, n in
        eagle_swiglu_backward(
          dy.floats + offset, gate.value.floats + offset, up.value.floats + offset, dup.floats + offset, n)
      }
      gate.addGradient(giving: dy)
      up.addGradient(giving: dup)
    }
  }

  /// forward: y = R x, R the rotation of each row's position   so   dx += Rᵀ dy, the inverse rotation
  ///
  /// Rotates x in place: x must be a value that no other op reads, such as the result of a matmul.
  package func rotary(_ x: Variable, _ rotary: Rotary, _ table: Rotary.Table) -> Variable {
    rotary.rotate(x.value, table)
    return result(x.value, of: [x]) { dy in
      rotary.rotate(dy, table, inverse: true)
      x.addGradient(giving: dy)
    }
  }
}
