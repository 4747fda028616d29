import EagleTensor

// R batch rows · H hidden · M MLP · d head dimension.

/// One decoder layer of a target: its weights, and its formulas for every kind of pass. Matrices are [outputs, inputs]
/// as stored; norms and biases are float32.
struct DecoderLayer: Sendable {
  let shape: LayerShape
  let attentionNorms: BlockNorms
  let projections: WeightGroup  // q [heads · d, H]; k, v [kvHeads · d, H]
  let queryNorm, keyNorm: Tensor?  // [d], or all heads together
  let sinks: Tensor?  // [heads]
  let output: WeightGroup  // [H, heads · d]
  let feedForwardNorms: BlockNorms
  let feedForward: FeedForward

  /// The norms around a block, [H].
  struct BlockNorms: Sendable {
    let before, after: Tensor?
  }

  enum FeedForward: Sendable {
    /// gate and up [M, H]; down [H, M]
    case dense(gateAndUp: WeightGroup, down: WeightGroup)
    case experts(Experts)
  }

  /// The matrices that a pass always reads, in the order in which `run` multiplies by them.
  var matrices: [WeightGroup] {
    switch feedForward {
    case .dense(let gateAndUp, let down): [projections, output, gateAndUp, down]
    case .experts(let experts): [projections, output, experts.router]
    }
  }

  /// The matrices that `quantized` quantises: all but a router.
  var quantizable: [Tensor] {
    let others: [Tensor] =
      switch feedForward {
      case .dense(let gateAndUp, let down): (gateAndUp.weights + down.weights).map(\.w)
      case .experts(let experts): experts.weights.map(\.matrices).flatMap { [$0.gate, $0.up, $0.down] }
      }
    return (projections.weights + output.weights).map(\.w) + others
  }

  /// The experts, where it has any.
  var experts: Experts? { if case .experts(let experts) = feedForward { experts } else { nil } }

  /// The same layer with quantised matrices. A router stays as it is, since its logits select the experts.
  func quantized(_ format: DType) -> DecoderLayer {
    let feedForward: FeedForward =
      switch feedForward {
      case .dense(let gateAndUp, let down):
        .dense(gateAndUp: gateAndUp.quantized(format), down: down.quantized(format))
      case .experts(let experts): .experts(experts.quantized(format))
      }
    return DecoderLayer(
      shape: shape, attentionNorms: attentionNorms, projections: projections.quantized(format),
      queryNorm: queryNorm, keyNorm: keyNorm, sinks: sinks, output: output.quantized(format),
      feedForwardNorms: feedForwardNorms,
      feedForward: feedForward)
  }

  /// Runs the layer over the residual stream x [R, H], in place. Norms, rotary embedding, caps and biases are there
  /// where `shape` has them:
  /// ```
  /// q, k, v  = projections(norm(x))
  /// q, k     = rotary(norm(q)), rotary(norm(k))
  /// x       += scale · norm(output(attention(q, k, v)))
  /// gate, up = gateAndUp(norm(x))
  /// x       += scale · norm(down(act(gate, up)))               or that of each expert, weighed by the router
  /// ```
  func run<Operations: LayerOperations>(on x: Operations.Activations, _ ops: Operations, index: Int) {
    attend(on: x, ops, index: index)
    feedForward(on: x, ops)
  }

  private func attend<Operations: LayerOperations>(on x: Operations.Activations, _ ops: Operations, index: Int) {
    let projected = ops.multiply(input(x, attentionNorms, ops), projections)
    let q = ops.rotate(ops.headNorm(projected[0], queryNorm), shape.rotary, isQuery: true)
    let k = ops.rotate(ops.headNorm(projected[1], keyNorm), shape.rotary, isQuery: false)
    let attended = ops.attention(q, k, projected[2], LayerAttention(shape: shape, sinks: sinks, index: index))
    ops.add(ops.operand(attended), output, update(attentionNorms), to: x)
  }

  private func feedForward<Operations: LayerOperations>(on x: Operations.Activations, _ ops: Operations) {
    let operand = input(x, feedForwardNorms, ops)
    switch feedForward {
    case .dense(let gateAndUp, let down):
      let projected = ops.multiply(operand, gateAndUp)
      let activated = ops.gated(projected[0], up: projected[1], shape.feedForward.activation)
      ops.add(activated, down, update(feedForwardNorms), to: x)
    case .experts(let experts):
      ops.add(experts, router: ops.multiply(operand, experts.router)[0], of: operand, update(feedForwardNorms), to: x)
    }
  }

  private func input<Operations: LayerOperations>(
    _ x: Operations.Activations, _ norms: BlockNorms, _ ops: Operations
  ) -> Operations.Operand {
    norms.before.map { ops.norm(x, $0) } ?? ops.operand(x)
  }

  private func update(_ norms: BlockNorms) -> ResidualUpdate {
    ResidualUpdate(norm: norms.after, scale: shape.residualScale)
  }
}

/// How a block's result is added to the residual stream: x += scale · norm(y).
struct ResidualUpdate {
  /// [H]; nil for no norm.
  let norm: Tensor?
  let scale: Float

  var isPlain: Bool { norm == nil && scale == 1 }
}

/// The attention of one layer, without its keys and values.
struct LayerAttention {
  let shape: LayerShape
  let sinks: Tensor?
  /// The layer's index, which is that of its cache.
  let index: Int
}
