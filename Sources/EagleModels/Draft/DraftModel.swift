import EagleAutograd
import EagleCore
import EagleTensor

// R batch rows · H hidden · M MLP · D draft vocabulary · d head dimension.

/// The EAGLE-3 draft head: one decoder layer over (token embedding, hidden state), and a head over the draft
/// vocabulary.
///
/// The parts of one step, which training and decoding put together, each with its own keys:
/// ```
/// h       = concat(inputNorm(embedding), hiddenNorm(g))
/// a       = g + o(attention(q(h), keys, values))
/// next g  = a + mlp(postNorm(a))
/// logits  = head(norm(next g))
/// ```
public final class DraftModel {
  package let shape: DraftShape
  package let vocabulary: DraftVocabulary
  /// All trained tensors under their exported names, in a fixed order.
  package let parameters: [Parameter]
  package let rotary: Rotary
  private let weights: Weights

  /// A named trained tensor.
  package struct Parameter {
    package let name: String
    package let variable: Variable
  }

  /// A head of these tensors, one for each name of `tensorShapes`; matrices float32 or bfloat16, norms float32.
  package init(shape: DraftShape, vocabulary: DraftVocabulary, tensors: [String: Tensor], trainable: Bool) {
    precondition(
      vocabulary.size == shape.draftVocabularySize, "\(vocabulary.size) draft ids for \(shape.draftVocabularySize)")
    self.shape = shape
    self.vocabulary = vocabulary
    parameters = Self.tensorShapes(shape).map { name, expected in
      guard let tensor = tensors[name], tensor.shape == expected else {
        preconditionFailure("draft tensor \(name): \(tensors[name]?.shape ?? []) in place of \(expected)")
      }
      return Parameter(name: name, variable: Variable(tensor, requiresGradient: trainable))
    }
    weights = Weights(parameters)
    rotary = RotaryShape(
      headDimension: shape.attention.headDimension, theta: shape.ropeTheta, scaling: shape.ropeScaling
    ).rotary(context: shape.maxPositions)
  }

  /// Names and shapes of all trained tensors.
  package static func tensorShapes(_ shape: DraftShape) -> [(name: String, shape: [Int])] {
    let (h, m) = (shape.hiddenSize, shape.intermediateSize)
    let (q, kv) = (shape.attention.queryWidth, shape.attention.keyWidth)
    return [
      ("fc.weight", [h, 3 * h]), ("midlayer.input_layernorm.weight", [h]), ("midlayer.hidden_norm.weight", [h]),
      ("midlayer.self_attn.q_proj.weight", [q, 2 * h]), ("midlayer.self_attn.k_proj.weight", [kv, 2 * h]),
      ("midlayer.self_attn.v_proj.weight", [kv, 2 * h]), ("midlayer.self_attn.o_proj.weight", [h, q]),
      ("midlayer.post_attention_layernorm.weight", [h]), ("midlayer.mlp.gate_proj.weight", [m, h]),
      ("midlayer.mlp.up_proj.weight", [m, h]), ("midlayer.mlp.down_proj.weight", [h, m]), ("norm.weight", [h]),
      ("lm_head.weight", [shape.draftVocabularySize, h]),
    ]
  }

  /// Random start: matrices N(0, 0.02), norms 1.
  package static func random(shape: DraftShape, vocabulary: DraftVocabulary, seed: UInt64) -> DraftModel {
    var tensors: [String: Tensor] = [:]
    for (name, size) in tensorShapes(shape) {
      var random = RandomSource(seed: seed, purpose: name)
      tensors[name] =
        size.count == 1
        ? .filled(size, with: 1) : .normal(size, deviation: 0.02, using: &random)
    }
    return DraftModel(shape: shape, vocabulary: vocabulary, tensors: tensors, trainable: true)
  }

  /// The same model as it will be exported and decoded: every weight rounded to bfloat16, not trainable.
  package func rounded() -> DraftModel {
    let tensors = parameters.map { parameter -> (String, Tensor) in
      let narrow = parameter.variable.value.bfloat16()
      return (parameter.name, narrow.shape.count == 1 ? narrow.float32() : narrow)
    }
    return DraftModel(
      shape: shape, vocabulary: vocabulary, tensors: Dictionary(uniqueKeysWithValues: tensors), trainable: false)
  }

  /// The same head with quantised matrices, for decoding.
  package func quantized(_ format: WeightFormat) -> DraftModel {
    guard let matrices = format.matrices else { return self }
    let tensors = parameters.map {
      ($0.name, $0.variable.shape.count == 1 ? $0.variable.value : $0.variable.value.quantized(matrices))
    }
    return DraftModel(
      shape: shape, vocabulary: vocabulary, tensors: Dictionary(uniqueKeysWithValues: tensors), trainable: false)
  }

  /// The matrices for which `format` has no blocks.
  package func fallbacks(_ format: WeightFormat) -> FormatFallbacks {
    var fallbacks = FormatFallbacks()
    guard let matrices = format.matrices else { return fallbacks }
    for value in parameters.map(\.variable.value) where value.shape.count == 2 { fallbacks.add(value, to: matrices) }
    return fallbacks
  }

  /// Rearranges matrices in blocks as decoding passes read them, which else the first pass does.
  package func prepareForDecoding(_ precision: ComputePrecision) {
    for parameter in parameters { parameter.variable.value.prepare(for: .batchInvariant(precision)) }
  }

  package var parameterCount: Int { parameters.reduce(0) { $0 + $1.variable.value.count } }

  /// An empty cache for this head that may grow to `capacity` entries.
  package func makeCache(capacity: Int, _ format: CacheFormat) -> KVCache {
    KVCache(layers: cacheLayers(format), capacity: capacity)
  }

  /// The layers of a KV cache: one.
  package func cacheLayers(_ format: CacheFormat) -> [KVCache.LayerShape] {
    let fitting = format.fits(shape.attention.headDimension) ? format : .bf16
    return [KVCache.LayerShape(width: shape.attention.keyWidth, format: fitting)]
  }

  // MARK: the parts of a step

  /// g_0 = fc(captured states): [R, 3H] to [R, H].
  package func project(_ tape: Tape, _ auxHidden: Tensor) -> Variable {
    tape.linear(Variable(auxHidden), weights.fc)
  }

  /// concat(inputNorm(embedding), hiddenNorm(g)): the embedding first, [R, 2H].
  package func mix(_ tape: Tape, embedding: Tensor, hidden g: Variable) -> Variable {
    tape.sideBySideNorms(
      [(Variable(embedding), weights.inputNorm), (g, weights.hiddenNorm)], epsilon: shape.normEpsilon)
  }

  /// Rotated keys and values of the rows, [R, kvHeads · d] each.
  package func keys(_ tape: Tape, _ h: Variable, _ table: Rotary.Table) -> (k: Variable, v: Variable) {
    (tape.rotary(tape.linear(h, weights.key), rotary, table), tape.linear(h, weights.value))
  }

  /// Rotated queries of the rows, [R, heads · d].
  package func queries(_ tape: Tape, _ h: Variable, _ table: Rotary.Table) -> Variable {
    tape.rotary(tape.linear(h, weights.query), rotary, table)
  }

  /// g_{k+1} from g_k and the attention's result. The residual is the un-normed g_k.
  package func finish(_ tape: Tape, hidden g: Variable, attended: Variable) -> Variable {
    let a = tape.linear(attended, weights.output, addedTo: g)
    let h = tape.rmsNorm(a, weights.postNorm, epsilon: shape.normEpsilon)
    let activated = tape.swiglu(tape.linear(h, weights.gate), tape.linear(h, weights.up))
    return tape.linear(activated, weights.down, addedTo: a)
  }

  /// The states that the head multiplies: norm(g), [R, H].
  package func normalized(_ tape: Tape, _ g: Variable) -> Variable {
    tape.rmsNorm(g, weights.norm, epsilon: shape.normEpsilon)
  }

  /// The parameters between captured states and the keys and values of step 0.
  package var keyParameters: [Variable] {
    [weights.fc, weights.inputNorm, weights.hiddenNorm, weights.key, weights.value]
  }

  /// The head, [D, H].
  package var head: Variable { weights.head }

  private struct Weights {
    let fc, inputNorm, hiddenNorm, query, key, value, output, postNorm, gate, up, down, norm, head: Variable

    /// Takes the parameters in the order of `tensorShapes`.
    init(_ parameters: [Parameter]) {
      let v = parameters.map(\.variable)
      (fc, inputNorm, hiddenNorm, query, key, value) = (v[0], v[1], v[2], v[3], v[4], v[5])
      (output, postNorm, gate, up, down, norm, head) = (v[6], v[7], v[8], v[9], v[10], v[11], v[12])
    }
  }
}
