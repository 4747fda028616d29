import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor

// R batch rows · H hidden size of the head, H_t of the target · n captured layers · M MLP · D draft vocabulary ·
// V target vocabulary · d head dimension.

/// The computation of an EAGLE-3 head: a decoder layer over (token embedding, hidden state), in some heads further
/// layers, and an LM head over the draft vocabulary.
///
/// The parts of one step, which training and decoding combine, each with its own keys:
/// ```
/// h       = concat(inputNorm(embedding), hiddenNorm(g))     x = g
/// a       = x + o(attention(q(h), keys, values))
/// x       = a + mlp(postNorm(a))
/// each further layer: the same, from h = inputNorm(x)
/// next g  = x,  logits = lmHead(norm(next g))
/// ```
/// `Eagle3Variant` has the switches that change one of these lines.
package final class Eagle3Network: DraftNetwork {
  package let shape: Eagle3Shape
  package let rotary: Rotary
  private let weights: Weights

  init(_ shape: Eagle3Shape, _ parameters: [DraftModel.Parameter]) {
    self.shape = shape
    rotary = RotaryShape(
      headDimension: shape.attention.headDimension, theta: shape.ropeTheta, scaling: shape.ropeScaling
    ).rotary(context: shape.maxPositions)
    weights = Weights(parameters, shape, rotary)
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

  /// The first layer's input concat(inputNorm(embedding), hiddenNorm(g)): the embedding first, [R, 2H].
  package func mix(_ tape: Tape, embedding: Variable, hidden g: Variable) -> Variable {
    tape.sideBySideNorms(
      [(embedding, weights.layers[0].inputNorm), (g, weights.hiddenNorm)], epsilon: shape.normEpsilon)
  }

  /// Rotated keys and values of a layer's input h, [R, kvHeads · d] each.
  package func keys(
    _ tape: Tape, _ h: Variable, layer: Int, _ table: Rotary.Table
  ) -> (k: Variable, v: Variable) {
    weights.layers[layer].keys(tape, h, table)
  }

  /// Rows between two layers.
  package struct LayerInput {
    /// The residual, [R, H].
    package let x: Variable
    /// What queries, keys and values are computed from: [R, 2H] in the first layer, [R, H] in others.
    package let h: Variable

    package init(x: Variable, h: Variable) { (self.x, self.h) = (x, h) }
  }

  /// The inputs of layer `range.upperBound` from those of layer `range.lowerBound`.
  ///
  /// - Parameter attention: attention's result from a layer, its rows h and their rotated queries
  package func inputs(
    _ tape: Tape, through range: Range<Int>, _ input: LayerInput, _ table: Rotary.Table,
    attention: (_ layer: Int, _ h: Variable, _ q: Variable) -> Variable
  ) -> LayerInput {
    range.reduce(input) { input, layer in
      let x = output(tape, layer, input, table, attention: attention)
      return LayerInput(x: x, h: weights.layers[layer + 1].normed(tape, x))
    }
  }

  /// g_{k+1} from the inputs of layer `first`, [R, H].
  ///
  /// - Parameter attention: as in `inputs`
  package func states(
    _ tape: Tape, from first: Int, _ input: LayerInput, _ table: Rotary.Table,
    attention: (_ layer: Int, _ h: Variable, _ q: Variable) -> Variable
  ) -> Variable {
    let last = shape.layers - 1
    let input = inputs(tape, through: first..<last, input, table, attention: attention)
    let next = output(tape, last, input, table, attention: attention)
    return shape.variant.feedsNormedState ? tape.rmsNorm(next, weights.norm, epsilon: shape.normEpsilon) : next
  }

  /// A layer's output, [R, H]. The first residual is g_k, or its norm where a switch says so.
  private func output(
    _ tape: Tape, _ layer: Int, _ input: LayerInput, _ table: Rotary.Table,
    attention: (_ layer: Int, _ h: Variable, _ q: Variable) -> Variable
  ) -> Variable {
    let attended = attention(layer, input.h, weights.layers[layer].queries(tape, input.h, table))
    let isNormed = layer == 0 && shape.variant.normsResidual
    let residual = isNormed ? tape.rmsNorm(input.x, weights.hiddenNorm, epsilon: shape.normEpsilon) : input.x
    return weights.layers[layer].finish(tape, residual: residual, attended: attended)
  }

  /// The states that the LM head multiplies: norm(g), [R, H]; g where that is normed already.
  package func normalized(_ tape: Tape, _ g: Variable) -> Variable {
    shape.variant.feedsNormedState ? g : tape.rmsNorm(g, weights.norm, epsilon: shape.normEpsilon)
  }

  /// The parameters between the keys and values of the layer below, or the captured states, and the keys and values of
  /// a layer at step 0.
  package func keyParameters(layer: Int) -> [Variable] {
    let own = [weights.layers[layer].inputNorm] + weights.layers[layer].keyParameters
    guard layer == 0 else { return weights.layers[layer - 1].rowParameters + own }
    return weights.featureNorms + [weights.fc, weights.hiddenNorm] + (weights.embedding.map { [$0] } ?? []) + own
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
    let fc, hiddenNorm, norm: Variable
    let layers: [DraftLayer]
    let featureNorms: [Variable]
    let embedding, lmHead: Variable?

    init(_ parameters: [DraftModel.Parameter], _ shape: Eagle3Shape, _ rotary: Rotary) {
      let named = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.variable) })
      (fc, hiddenNorm, norm) = (
        named[Eagle3Tensors.fc]!, named[Eagle3Tensors.hiddenNorm]!, named[Eagle3Tensors.norm]!
      )
      layers = (0..<shape.layers).map { index in
        DraftLayer(rotary, epsilon: shape.normEpsilon) { named[Eagle3Tensors.layer(index, $0)] }
      }
      (embedding, lmHead) = (named[Eagle3Tensors.embedding], named[Eagle3Tensors.lmHead])
      featureNorms = Eagle3Tensors.featureNorms(shape).map { named[$0.name]! }
    }
  }
}

extension DraftModel {
  /// The network of an EAGLE-3 head; nil for another architecture.
  package var eagle3: Eagle3Network? { network as? Eagle3Network }
}
