import EagleTensor

/// The operations of a decoder layer on tensors: many rows, with and without caches.
struct TensorOperations: LayerOperations {
  let shape: TargetShape
  let segments: [Segment]
  let rotary: Rotary
  /// Cosines and sines of the rows' positions.
  let table: Rotary.Table
  let mode: MatmulMode

  func operand(_ x: Tensor) -> Tensor { x }

  func norm(_ x: Tensor, _ w: Tensor) -> Tensor { RMSNorm.apply(x, w, epsilon: shape.normEpsilon) }

  func swiglu(_ gate: Tensor, up: Tensor) -> Tensor { Elementwise.swiglu(gate, up) }

  func multiply(_ x: Tensor, _ group: WeightGroup) -> [Tensor] { Matmul.forward(x, group.weights, mode) }

  func add(_ x: Tensor, _ group: WeightGroup, to residual: Tensor) {
    Matmul.accumulate(x, group.weights[0].w, into: residual, mode)
  }

  func headNorm(_ x: Tensor, _ w: Tensor?) -> Tensor {
    guard let w else { return x }
    let d = shape.attention.headDimension
    return RMSNorm.apply(x.reshaped([x.count / d, d]), w, epsilon: shape.normEpsilon).reshaped(x.shape)
  }

  func rotate(_ x: Tensor) -> Tensor {
    rotary.rotate(x, table)
    return x
  }

  func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, layer: Int) -> Tensor {
    TargetAttention(shape: shape.attention, segments: segments, layer: layer, mode: mode).apply(q, k, v)
  }
}
