import EagleAutograd
import EagleModels
import EagleTensor

// R rows · H hidden · M MLP · kv key heads · d head dimension.

/// The weights of a decoder layer of a draft head, and its computation around attention:
/// ```
/// q, k = rotary(queryNorm(query h)), rotary(keyNorm(key h));  v = value h     the norms only where the layer has them
/// a    = x + output(attention(q, keys, values));  next x = a + mlp(postNorm(a))
/// ```
/// The input h is inputNorm(x), except in the first layer of an EAGLE-3 head.
struct DraftLayer {
  /// The most layers of a head; usual are one in EAGLE-3 and five in block drafters.
  static let most = 64

  let inputNorm, query, key, value, output, postNorm, gate, up, down: Variable
  let queryNorm, keyNorm: Variable?
  private let rotary: Rotary
  private let epsilon: Float

  /// - Parameters:
  ///   - tensor: a tensor of the layer by its name, such as `self_attn.q_proj`; nil for a norm that it lacks
  ///   - rotary: the rotary embedding of its queries and keys
  ///   - epsilon: of all norms
  init(_ rotary: Rotary, epsilon: Float, tensor: (_ name: String) -> Variable?) {
    func required(_ name: String) -> Variable {
      guard let variable = tensor(name) else { preconditionFailure("a layer without \(name)") }
      return variable
    }
    inputNorm = required("input_layernorm")
    (query, key) = (required("self_attn.q_proj"), required("self_attn.k_proj"))
    (value, output) = (required("self_attn.v_proj"), required("self_attn.o_proj"))
    (queryNorm, keyNorm) = (tensor("self_attn.q_norm"), tensor("self_attn.k_norm"))
    postNorm = required("post_attention_layernorm")
    (gate, up, down) = (required("mlp.gate_proj"), required("mlp.up_proj"), required("mlp.down_proj"))
    (self.rotary, self.epsilon) = (rotary, epsilon)
  }

  /// h of rows x: their norm, [R, H].
  func normed(_ tape: Tape, _ x: Variable) -> Variable { tape.rmsNorm(x, inputNorm, epsilon: epsilon) }

  /// Rotated keys and values of rows h, [R, kv · d] each.
  func keys(_ tape: Tape, _ h: Variable, _ table: Rotary.Table) -> (k: Variable, v: Variable) {
    (rotated(tape, tape.linear(h, key), keyNorm, table), tape.linear(h, value))
  }

  /// Rotated queries of rows h, [R, heads · d].
  func queries(_ tape: Tape, _ h: Variable, _ table: Rotary.Table) -> Variable {
    rotated(tape, tape.linear(h, query), queryNorm, table)
  }

  private func rotated(_ tape: Tape, _ x: Variable, _ norm: Variable?, _ table: Rotary.Table) -> Variable {
    tape.rotary(norm.map { tape.headNorm(x, $0, epsilon: epsilon) } ?? x, rotary, table)
  }

  /// The next x, [R, H], of the residual x and attention's result.
  func finish(_ tape: Tape, residual x: Variable, attended: Variable) -> Variable {
    let a = tape.linear(attended, output, addedTo: x)
    let h = tape.rmsNorm(a, postNorm, epsilon: epsilon)
    return tape.linear(tape.swiglu(tape.linear(h, gate), tape.linear(h, up)), down, addedTo: a)
  }

  /// The parameters between h and its keys and values.
  var keyParameters: [Variable] { [key, value] + (keyNorm.map { [$0] } ?? []) }

  /// The parameters between h, with attention's keys and values, and the next x.
  var rowParameters: [Variable] { [query, output, postNorm, gate, up, down] + (queryNorm.map { [$0] } ?? []) }
}
