import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor

// R batch rows · H hidden size of the head, H_t of the target · n captured layers · M MLP · D draft vocabulary ·
// V target vocabulary · d head dimension.

/// The computation of an EAGLE-3 head: one decoder layer over (token embedding, hidden state), and an LM head over the
/// draft vocabulary.
///
/// The parts of one step, which training and decoding combine, each with its own keys:
/// ```
/// h       = concat(inputNorm(embedding), hiddenNorm(g))
/// a       = g + o(attention(q(h), keys, values))
/// next g  = a + mlp(postNorm(a))
/// logits  = lmHead(norm(next g))
/// ```
/// `Eagle3Variant` has the switches that change one of these lines.
package final class Eagle3Network: DraftNetwork {
  package let shape: Eagle3Shape
  package let rotary: Rotary
  private let weights: Weights

  init(_ shape: Eagle3Shape, _ parameters: [DraftModel.Parameter]) {
    self.shape = shape
    weights = Weights(parameters, shape)
    rotary = RotaryShape(
      headDimension: shape.attention.headDimension, theta: shape.ropeTheta, scaling: shape.ropeScaling
    ).rotary(context: shape.maxPositions)
  }

  package func makeDrafter(_ draft: DraftModel, target: TargetModel, capacity: Int) -> any Drafter {
    Eagle3Drafter(draft, self, target: target, capacity: capacity)
  }

  package func makeObjective(
    _ draft: DraftModel, tables: TargetTables, teacher: Teacher, settings: ObjectiveSettings, clock: PhaseClock,
    tick: @escaping () -> Void
  ) -> any Objective {
    Eagle3Objective(
      network: self, parameters: draft.parameters.map(\.variable), tables: tables, teacher: teacher,
      settings: settings, clock: clock, tick: tick)
  }

  package func fitted(
    _ draft: DraftModel, target: TargetModel, leftOut: @escaping (Int) -> Void,
    conversations: @escaping ((Int, CapturedConversation) -> Bool) throws -> Void
  ) throws -> DraftModel? {
    try Eagle3FittedStart(
      target: target, start: draft, network: self, leftOut: leftOut, conversations: conversations
    ).fitted()
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

    init(_ parameters: [DraftModel.Parameter], _ shape: Eagle3Shape) {
      let named = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.variable) })
      func layer(_ name: String) -> Variable { named["midlayer.\(name).weight"]! }
      fc = named[Eagle3Tensors.fc]!
      (inputNorm, hiddenNorm) = (layer("input_layernorm"), layer("hidden_norm"))
      (query, key) = (named[Eagle3Tensors.queries]!, named[Eagle3Tensors.keys]!)
      (value, output) = (layer("self_attn.v_proj"), layer("self_attn.o_proj"))
      (queryNorm, keyNorm) = (named[Eagle3Tensors.queryNorm], named[Eagle3Tensors.keyNorm])
      postNorm = layer("post_attention_layernorm")
      (gate, up, down) = (layer("mlp.gate_proj"), layer("mlp.up_proj"), layer("mlp.down_proj"))
      norm = named["norm.weight"]!
      (embedding, lmHead) = (named[Eagle3Tensors.embedding], named[Eagle3Tensors.lmHead])
      featureNorms = Eagle3Tensors.featureNorms(shape).map { named[$0.name]! }
    }
  }
}

extension DraftModel {
  /// The network of an EAGLE-3 head; nil for another architecture.
  package var eagle3: Eagle3Network? { network as? Eagle3Network }
}
