import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor

// N context rows · R block rows · H hidden · n captured layers · L layers · kv key heads · d head dimension · r Markov
// rank · D draft vocabulary.

/// The computation of a block drafter.
///
/// ```
/// c_p        = hiddenNorm(fc(captured states at p))                  context, for verified positions
/// x          = embedding of the newest token, then of B - 1 mask tokens
/// each layer: h = inputNorm(x);  queries from h;  keys and values from c and from h
///             x = x + o(attention(q, context and the whole block));  x = x + mlp(postNorm(x))
/// logits_i   = lmHead(h_i) + W2 W1[token before],  h_i = norm(x_i)
/// confidence = sigmoid(w · (h_i, W1[token before]) + b)
/// ```
/// Each block row sees all context and all rows of its block.
package final class BlockNetwork: DraftNetwork {
  package let shape: BlockShape
  let rotary: Rotary
  private let weights: Weights

  init(_ shape: BlockShape, _ parameters: [DraftModel.Parameter]) {
    self.shape = shape
    rotary = RotaryShape(
      headDimension: shape.attention.headDimension, theta: shape.ropeTheta, scaling: shape.ropeScaling
    ).rotary(context: shape.maxPositions)
    weights = Weights(parameters, shape, rotary)
  }

  package func makeDrafter(_ draft: DraftModel, target: TargetModel, capacity: Int) -> any Drafter {
    BlockDrafter(draft, self, target: target, capacity: capacity)
  }

  package func makeObjective(
    _ draft: DraftModel, tables: TargetTables, teacher: Teacher, settings: ObjectiveSettings, clock: PhaseClock,
    tick: @escaping () -> Void
  ) -> any Objective {
    BlockObjective(
      network: self, parameters: draft.parameters.map(\.variable), vocabulary: draft.vocabulary, tables: tables,
      teacher: teacher, settings: settings, clock: clock, tick: tick)
  }

  package func features(_ tape: Tape, _ auxHidden: Tensor) -> Variable { Variable(auxHidden) }

  package func fitted(
    _ draft: DraftModel, target: TargetModel, leftOut: @escaping (Int) -> Void,
    conversations: @escaping ((Int, CapturedConversation) -> Bool) throws -> Void
  ) throws -> DraftModel? {
    try BlockFittedStart(
      target: target, start: draft, network: self, leftOut: leftOut, conversations: conversations
    ).fitted()
  }

  // MARK: the parts of a pass

  /// The block's inputs, [R, H]: rows of the target's embedding, scaled as in the target.
  func inputs(_ tokens: [Int32], _ tables: TargetTables) -> Variable {
    let rows = Rows.gather(tables.embedding, tokens)
    guard shape.embeddingScale != 1 else { return Variable(rows) }
    let scaled = rows.float32()
    Elementwise.scale(scaled, by: shape.embeddingScale)
    return Variable(scaled)
  }

  /// The context features c of captured states: [N, n H] to [N, H].
  func context(_ tape: Tape, _ auxHidden: Tensor) -> Variable {
    tape.rmsNorm(tape.linear(features(tape, auxHidden), weights.fc), weights.hiddenNorm, epsilon: shape.normEpsilon)
  }

  /// The layers' weights; all of them have norms of q and k.
  var layers: [DraftLayer] { weights.layers }

  /// The states that the heads read, [R, H].
  func normalized(_ tape: Tape, _ x: Variable) -> Variable {
    tape.rmsNorm(x, weights.norm, epsilon: shape.normEpsilon)
  }

  /// The LM head, [D, H]: its own, or the target's rows.
  func lmHead(_ tables: TargetTables) -> Variable {
    guard let head = weights.lmHead ?? tables.lmHead else { preconditionFailure("no LM head") }
    return head
  }

  /// W1 of the tokens before the rows, [R, r]; nil without a Markov head.
  func markov(_ tape: Tape, before tokens: [Int32]) -> Variable? {
    weights.markovTable.map { tape.embedding($0, tokens) }
  }

  /// W2, [D, r].
  var markovHead: Variable? { weights.markovHead }

  /// The weights [1, H + r] and the bias [1] of the confidence head.
  var confidence: (w: Variable, b: Variable)? { weights.confidence }

  /// The parameters between captured states and the keys and values of the context.
  var contextParameters: [Variable] {
    [weights.fc, weights.hiddenNorm] + weights.layers.flatMap(\.keyParameters)
  }

  private struct Weights {
    let fc, hiddenNorm, norm: Variable
    let layers: [DraftLayer]
    let lmHead, markovTable, markovHead: Variable?
    let confidence: (w: Variable, b: Variable)?

    init(_ parameters: [DraftModel.Parameter], _ shape: BlockShape, _ rotary: Rotary) {
      let named = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.variable) })
      (fc, hiddenNorm) = (named[BlockTensors.fc]!, named[BlockTensors.hiddenNorm]!)
      norm = named[BlockTensors.norm]!
      layers = (0..<shape.layers).map { index in
        DraftLayer(rotary, epsilon: shape.normEpsilon) { named[BlockTensors.layer(index, $0)] }
      }
      (lmHead, markovTable) = (named[BlockTensors.lmHead], named[BlockTensors.markovTable])
      markovHead = named[BlockTensors.markovHead]
      confidence = named[BlockTensors.confidence].map { ($0, named[BlockTensors.confidenceBias]!) }
    }
  }
}
