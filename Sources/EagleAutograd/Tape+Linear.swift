import EagleTensor

extension Tape {
  /// forward: y = x wᵀ, with x [R, I], w [O, I]   so   dx += dy w,  dw += dyᵀ x
  public func linear(_ x: Variable, _ w: Variable) -> Variable {
    let products = products
    return result(Matmul.forward(x.value, w.value, products), of: [x, w]) { dy in
      if let dx = x.gradientToAccumulate() { Matmul.accumulateInputGradient(dy, w.value, into: dx, products) }
      if let dw = w.gradientToAccumulate() { Matmul.accumulateWeightGradient(dy, x.value, into: dw, products) }
    }
  }
}
