import EagleAutograd
import EagleCore
import EagleTensor

// R batch rows · H hidden size of the head, H_t of the target · n captured layers · M MLP · D draft vocabulary ·
// V target vocabulary · d head dimension.

/// The EAGLE-3 draft head: one decoder layer over (token embedding, hidden state), and an LM head over the draft
/// vocabulary.
///
/// The parts of one step, which training and decoding put together, each with its own keys:
/// ```
/// h       = concat(inputNorm(embedding), hiddenNorm(g))
/// a       = g + o(attention(q(h), keys, values))
/// next g  = a + mlp(postNorm(a))
/// logits  = lmHead(norm(next g))
/// ```
/// `DraftVariant` has the switches that change one of these lines.
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
    weights = Weights(parameters, shape)
    rotary = RotaryShape(
      headDimension: shape.attention.headDimension, theta: shape.ropeTheta, scaling: shape.ropeScaling
    ).rotary(context: shape.maxPositions)
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

  /// The same head where an embedding of its own starts as the target's, if that has its width.
  package func withEmbedding(of target: TargetModel) -> DraftModel {
    guard shape.variant.embedding == .own, shape.hiddenSize == target.shape.hiddenSize else { return self }
    return mapped(trainable: true) { name, tensor in
      name == DraftTensors.embedding ? target.embedding.float32() : tensor
    }
  }

  /// A copy with other tensors of the same shapes.
  ///
  /// - Parameter change: the tensor in place of each named one
  private func mapped(trainable: Bool = false, _ change: (String, Tensor) -> Tensor) -> DraftModel {
    let tensors = parameters.map { ($0.name, change($0.name, $0.variable.value)) }
    return DraftModel(
      shape: shape, vocabulary: vocabulary, tensors: Dictionary(uniqueKeysWithValues: tensors), trainable: trainable)
  }

  /// The same model as it will be exported and decoded: every weight rounded to bfloat16, not trainable.
  package func rounded() -> DraftModel {
    mapped { _, tensor in
      let narrow = tensor.bfloat16()
      return narrow.shape.count == 1 ? narrow.float32() : narrow
    }
  }

  /// The same head with quantised matrices, for decoding.
  package func quantized(_ format: WeightFormat) -> DraftModel {
    guard let matrices = format.matrices else { return self }
    return mapped { _, tensor in tensor.shape.count == 1 ? tensor : tensor.quantized(matrices) }
  }

  /// The matrices for which `format` has no blocks.
  package func fallbacks(_ format: WeightFormat) -> FormatFallbacks {
    var fallbacks = FormatFallbacks()
    guard let matrices = format.matrices else { return fallbacks }
    for value in parameters.map(\.variable.value) where value.shape.count == 2 { fallbacks.add(value, to: matrices) }
    return fallbacks
  }

  /// Rearranges matrices in blocks as decoding passes read them, which else the first pass does. An embedding is read
  /// row by row.
  package func prepareForDecoding(_ precision: ComputePrecision) {
    for parameter in parameters where parameter.name != DraftTensors.embedding {
      parameter.variable.value.prepare(for: .batchInvariant(precision))
    }
  }

  /// Whether it reads an embedding that is not the target's.
  public var hasOwnEmbedding: Bool { shape.variant.embedding == .own }

  package var parameterCount: Int { parameters.reduce(0) { $0 + $1.variable.value.count } }

  /// An empty cache for this head that may grow to `capacity` entries.
  package func makeCache(capacity: Int, _ format: CacheFormat) -> KVCache {
    KVCache(layers: cacheLayers(format), capacity: capacity)
  }

  /// The layers of a KV cache: one. It keeps all keys, also where the head sees a window of them.
  package func cacheLayers(_ format: CacheFormat) -> [KVCache.LayerShape] {
    let fitting = format.fits(shape.attention.headDimension) ? format : .bf16
    return [KVCache.LayerShape(width: shape.attention.keyWidth, format: fitting)]
  }

  /// The target's tables that this head reads.
  package func tables(of target: TargetModel) -> TargetTables {
    TargetTables(embedding: target.embedding, lmHead: shape.variant.lmHead == .own ? nil : target.head)
  }

  // MARK: the parts of a step

  /// g_0 = fc(captured states), normed first where a switch says so: [R, n H_t] to [R, H].
  package func project(_ tape: Tape, _ auxHidden: Tensor) -> Variable {
    tape.linear(features(tape, auxHidden), weights.fc)
  }

  /// The captured states as `fc` reads them, [R, n H_t].
  package func features(_ tape: Tape, _ auxHidden: Tensor) -> Variable {
    switch shape.variant.featureNorm {
    case .none: return Variable(auxHidden)
    case .joint:
      return tape.rmsNorm(Variable(auxHidden.float32()), weights.featureNorms[0], epsilon: shape.normEpsilon)
    case .perState:
      let width = shape.targetHiddenSize
      let parts = weights.featureNorms.enumerated().map { index, norm in
        (x: Variable(Rows.columns(auxHidden.float32(), index * width..<(index + 1) * width)), w: norm)
      }
      return tape.sideBySideNorms(parts, epsilon: shape.normEpsilon)
    }
  }

  /// The embeddings of tokens, [R, H].
  package func embeddings(_ tape: Tape, _ tokens: [Int32], _ tables: TargetTables) -> Variable {
    weights.embedding.map { tape.embedding($0, tokens) } ?? Variable(Rows.gather(tables.embedding, tokens))
  }

  /// concat(inputNorm(embedding), hiddenNorm(g)): the embedding first, [R, 2H].
  package func mix(_ tape: Tape, embedding: Variable, hidden g: Variable) -> Variable {
    tape.sideBySideNorms([(embedding, weights.inputNorm), (g, weights.hiddenNorm)], epsilon: shape.normEpsilon)
  }

  /// Rotated keys and values of the rows, [R, kvHeads · d] each.
  package func keys(_ tape: Tape, _ h: Variable, _ table: Rotary.Table) -> (k: Variable, v: Variable) {
    (rotated(tape, tape.linear(h, weights.key), weights.keyNorm, table), tape.linear(h, weights.value))
  }

  /// Rotated queries of the rows, [R, heads · d].
  package func queries(_ tape: Tape, _ h: Variable, _ table: Rotary.Table) -> Variable {
    rotated(tape, tape.linear(h, weights.query), weights.queryNorm, table)
  }

  private func rotated(_ tape: Tape, _ x: Variable, _ norm: Variable?, _ table: Rotary.Table) -> Variable {
    tape.rotary(norm.map { tape.headNorm(x, $0, epsilon: shape.normEpsilon) } ?? x, rotary, table)
  }

  /// g_{k+1} from g_k and the attention's result. The residual is g_k, or its norm where a switch says so.
  package func finish(_ tape: Tape, hidden g: Variable, attended: Variable) -> Variable {
    let residual =
      shape.variant.normsResidual ? tape.rmsNorm(g, weights.hiddenNorm, epsilon: shape.normEpsilon) : g
    let a = tape.linear(attended, weights.output, addedTo: residual)
    let h = tape.rmsNorm(a, weights.postNorm, epsilon: shape.normEpsilon)
    let activated = tape.swiglu(tape.linear(h, weights.gate), tape.linear(h, weights.up))
    let next = tape.linear(activated, weights.down, addedTo: a)
    return shape.variant.feedsNormedState ? tape.rmsNorm(next, weights.norm, epsilon: shape.normEpsilon) : next
  }

  /// The states that the LM head multiplies: norm(g), [R, H]; g where that is normed already.
  package func normalized(_ tape: Tape, _ g: Variable) -> Variable {
    shape.variant.feedsNormedState ? g : tape.rmsNorm(g, weights.norm, epsilon: shape.normEpsilon)
  }

  /// The parameters between captured states and the keys and values of step 0.
  package var keyParameters: [Variable] {
    weights.featureNorms + [weights.fc, weights.inputNorm, weights.hiddenNorm, weights.key, weights.value]
      + [weights.keyNorm, weights.embedding].compactMap { $0 }
  }

  /// The LM head, [D, H]: its own, or the target's.
  package func lmHead(_ tables: TargetTables) -> Variable {
    if let own = weights.lmHead { return own }
    guard let shared = tables.lmHead else {
      preconditionFailure("the target's LM head for \(shape.draftVocabularySize)")
    }
    return shared
  }

  private struct Weights {
    let fc, inputNorm, hiddenNorm, query, key, value, output, postNorm, gate, up, down, norm: Variable
    let featureNorms: [Variable]
    let queryNorm, keyNorm, embedding, lmHead: Variable?

    init(_ parameters: [Parameter], _ shape: DraftShape) {
      let named = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.variable) })
      func layer(_ name: String) -> Variable { named["midlayer.\(name).weight"]! }
      fc = named[DraftTensors.fc]!
      (inputNorm, hiddenNorm) = (layer("input_layernorm"), layer("hidden_norm"))
      (query, key) = (named[DraftTensors.queries]!, named[DraftTensors.keys]!)
      (value, output) = (layer("self_attn.v_proj"), layer("self_attn.o_proj"))
      (queryNorm, keyNorm) = (named[DraftTensors.queryNorm], named[DraftTensors.keyNorm])
      postNorm = layer("post_attention_layernorm")
      (gate, up, down) = (layer("mlp.gate_proj"), layer("mlp.up_proj"), layer("mlp.down_proj"))
      norm = named["norm.weight"]!
      (embedding, lmHead) = (named[DraftTensors.embedding], named[DraftTensors.lmHead])
      featureNorms = DraftTensors.featureNorms(shape).map { named[$0.name]! }
    }
  }
}
