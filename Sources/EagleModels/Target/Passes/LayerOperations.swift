import EagleTensor

// R batch rows · d head dimension.

/// The operations of a decoder layer over all rows of one pass. `DecoderLayer.run` combines them; each kind of pass
/// implements them: `TensorOperations` and `BufferOperations`.
protocol LayerOperations {
  /// Float32 activations, [R, any width].
  associatedtype Activations
  /// Activations as the input of a matmul. Norm and activation function may be computed when they are read.
  associatedtype Operand
  /// The products of one `multiply`, in the order of the group's weights.
  associatedtype Products: Collection where Products.Element == Activations, Products.Index == Int

  /// x without a norm.
  func operand(_ x: Activations) -> Operand
  /// RMSNorm of each row of x, with the weight w [width].
  func norm(_ x: Activations, _ w: Tensor) -> Operand
  /// The activation of a gate, combined with up.
  func gated(_ gate: Activations, up: Activations, _ activation: GateActivation) -> Operand

  /// x wᵀ (+ bias) for each weight of the group.
  func multiply(_ x: Operand, _ group: WeightGroup) -> Products
  /// residual += scale · norm(x wᵀ + bias) with the one weight of the group.
  func add(_ x: Operand, _ group: WeightGroup, _ update: ResidualUpdate, to residual: Activations)
  /// residual += scale · norm(the experts' result for x).
  func add(
    _ experts: Experts, router: Activations, of x: Operand, _ update: ResidualUpdate, to residual: Activations)

  /// RMSNorm of x in parts as long as the weight w, one head or all of them; x where there is none. May overwrite x.
  func headNorm(_ x: Activations, _ w: Tensor?) -> Activations
  /// Every head of x rotated to its row's position; x where there is no embedding. May overwrite x.
  func rotate(_ x: Activations, _ rotary: RotaryShape?, isQuery: Bool) -> Activations
  /// Causal attention [R, heads · d] of each row to its sequence: the cached entries and, after them, k and v, which
  /// become entries of the layer.
  func attention(_ q: Activations, _ k: Activations, _ v: Activations, _ layer: LayerAttention) -> Activations
}
