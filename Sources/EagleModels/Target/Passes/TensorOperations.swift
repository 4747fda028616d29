import EagleTensor

/// The operations of a decoder layer on tensors: many rows, with and without caches.
struct TensorOperations: LayerOperations {
  let shape: TargetShape
  let segments: [Segment]
  let tables: RotaryTables
  let mode: MatmulMode

  func operand(_ x: Tensor) -> Tensor { x }

  func norm(_ x: Tensor, _ w: Tensor) -> Tensor { RMSNorm.apply(x, w, epsilon: shape.normEpsilon) }

  func gated(_ gate: Tensor, up: Tensor, _ activation: GateActivation) -> Tensor {
    Elementwise.gated(gate, up, activation)
  }

  func multiply(_ x: Tensor, _ group: WeightGroup) -> [Tensor] { Matmul.forward(x, group.weights, mode) }

  func add(_ x: Tensor, _ group: WeightGroup, _ update: ResidualUpdate, to residual: Tensor) {
    let (w, bias) = group.weights[0]
    if update.isPlain, bias == nil { return Matmul.accumulate(x, w, into: residual, mode) }
    add(Matmul.forward(x, w, bias: bias, mode), update, to: residual)
  }

  func add(_ experts: Experts, router: Tensor, of x: Tensor, _ update: ResidualUpdate, to residual: Tensor) {
    add(experts.apply(x, logits: router, mode), update, to: residual)
  }

  private func add(_ y: Tensor, _ update: ResidualUpdate, to residual: Tensor) {
    let normed = update.norm.map { norm(y, $0) } ?? y
    Elementwise.accumulate(normed, times: update.scale, into: residual)
  }

  func headNorm(_ x: Tensor, _ w: Tensor?) -> Tensor {
    guard let w else { return x }
    return norm(x.reshaped([x.count / w.count, w.count]), w).reshaped(x.shape)
  }

  func rotate(_ x: Tensor, _ rotary: RotaryShape?, isQuery: Bool) -> Tensor {
    guard let rotary else { return x }
    let (embedding, table) = tables.table(rotary, isQuery: isQuery)
    embedding.rotate(x, table)
    return x
  }

  func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, _ layer: LayerAttention) -> Tensor {
    TargetAttention(layer: layer, segments: segments, mode: mode).apply(q, k, v)
  }
}
