import EagleTensor

extension Tape {
  /// forward: y = x wᵀ, with x [R, I], w [O, I]   so   dx += dy w,  dw += dyᵀ x
  package func linear(_ x: Variable, _ w: Variable) -> Variable {
    let (a, b) = (x.operand(mode), w.operand(mode))
    return result(Matmul.forward(a, b, mode), of: [x, w]) { self.linearBackward($0, x, a, w, b) }
  }

  /// forward: y = r + x wᵀ, the residual stream r [R, O]   so   dr += dy,  dx += dy w,  dw += dyᵀ x
  package func linear(_ x: Variable, _ w: Variable, addedTo r: Variable) -> Variable {
    let (a, b) = (x.operand(mode), w.operand(mode))
    let y = Tensor(r.shape)
    Elementwise.copy(r.value, into: y)
    Matmul.accumulate(a, b, into: y, mode)
    return result(y, of: [r, x, w]) { dy in
      self.linearBackward(dy, x, a, w, b)
      r.addGradient(giving: dy)
    }
  }

  /// - Parameters:
  ///   - a, b: x and w as the forward pass multiplied them
  private func linearBackward(_ dy: Tensor, _ x: Variable, _ a: Tensor, _ w: Variable, _ b: Tensor) {
    let dy = Matmul.takesBFloat16(precision) ? dy.bfloat16() : dy
    x.addGradient { Matmul.inputGradient(dy, b, into: $0, accumulate: $1, precision) }
    w.addGradient { dw, accumulate in
      if !accumulate { dw.clear() }
      Matmul.accumulateWeightGradient(dy, a, into: dw, precision)
    }
  }
}
