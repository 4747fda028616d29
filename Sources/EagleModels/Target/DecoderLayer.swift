import EagleTensor

// R batch rows · H hidden · M MLP · d head dimension.

/// One decoder layer of a target: its weights, and its formulas for every kind of pass. Matrices are [outputs, inputs]
/// as stored; norms and biases are float32.
struct DecoderLayer: Sendable {
  let inputNorm: Tensor  // [H]
  let projections: WeightGroup  // q [heads · d, H]; k, v [kvHeads · d, H]
  let queryNorm, keyNorm: Tensor?  // [d]
  let output: WeightGroup  // [H, heads · d]
  let postNorm: Tensor  // [H]
  let gateAndUp: WeightGroup  // [M, H] twice
  let down: WeightGroup  // [H, M]

  /// The matrices in the order in which `run` multiplies by them.
  var matrices: [WeightGroup] { [projections, output, gateAndUp, down] }

  /// The same layer with 8-bit matrices.
  func quantized() -> DecoderLayer {
    DecoderLayer(
      inputNorm: inputNorm, projections: projections.quantized(), queryNorm: queryNorm, keyNorm: keyNorm,
      output: output.quantized(), postNorm: postNorm, gateAndUp: gateAndUp.quantized(), down: down.quantized())
  }

  /// Runs the layer over the residual stream x [R, H], in place:
  /// ```
  /// q, k, v  = projections(norm(x))
  /// q, k     = rotary(headNorm(q)), rotary(headNorm(k))        head norms where the family has them
  /// x       += output(attention(q, k, v))
  /// gate, up = gateAndUp(norm(x))
  /// x       += down(silu(gate) · up)
  /// ```
  func run<Operations: LayerOperations>(on x: Operations.Activations, _ ops: Operations, index: Int) {
    attend(on: x, ops, index: index)
    feedForward(on: x, ops)
  }

  private func attend<Operations: LayerOperations>(on x: Operations.Activations, _ ops: Operations, index: Int) {
    let projected = ops.multiply(ops.norm(x, inputNorm), projections)
    let q = ops.rotate(ops.headNorm(projected[0], queryNorm))
    let k = ops.rotate(ops.headNorm(projected[1], keyNorm))
    let attended = ops.attention(q, k, projected[2], layer: index)
    ops.add(ops.operand(attended), output, to: x)
  }

  private func feedForward<Operations: LayerOperations>(on x: Operations.Activations, _ ops: Operations) {
    let projected = ops.multiply(ops.norm(x, postNorm), gateAndUp)
    ops.add(ops.swiglu(projected[0], up: projected[1]), down, to: x)
  }
}
