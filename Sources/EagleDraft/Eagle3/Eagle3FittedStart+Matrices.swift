import EagleTensor

// Matrices that are concatenated, and the guess with its low-rank part.
extension Eagle3FittedStart {
  static func sideBySide(_ a: Tensor, _ b: Tensor) -> Tensor {
    let result = Tensor([a.rows, a.columns + b.columns])
    for row in 0..<a.rows {
      (result.floats + row * result.columns).update(from: a.floats + row * a.columns, count: a.columns)
      (result.floats + row * result.columns + a.columns).update(from: b.floats + row * b.columns, count: b.columns)
    }
    return result
  }

  static func stacked(_ parts: [Tensor]) -> Tensor {
    let result = Tensor([parts.reduce(0) { $0 + $1.rows }, parts[0].columns])
    var at = result.floats
    for part in parts {
      at.update(from: part.floats, count: part.count)
      at += part.count
    }
    return result
  }

  /// The guess with its embedding part replaced by the low-rank factors.
  static func joined(_ guess: Tensor, _ embedding: (left: Tensor, right: Tensor), features: Int) -> Tensor {
    let h = embedding.right.columns
    let transposed = Tensor([h, embedding.right.rows])  // right as [I, r] for a product with left [O, r]
    for k in 0..<embedding.right.rows {
      for i in 0..<h { transposed.floats[i * embedding.right.rows + k] = embedding.right.floats[k * h + i] }
    }
    return sideBySide(Rows.columns(guess, 0..<features), Matmul.forward(embedding.left, transposed, .fp32))
  }
}
