import EagleAutograd
import EagleModels
import EagleTensor
import Foundation

// N rows · H hidden · M MLP · V vocabulary · D draft vocabulary · n captured layers ·
// F = (n + 1) H features · d head dimension.

/// A least-squares initialisation of an EAGLE-3 head, which predicts well before any training: a guess at the target's
/// next state that needs no gradient, written into the head's weights.
///
/// The target's state z of the next position is fitted by ridge regression from what depth 0 of the draft sees: the
/// captured states and the normed embedding of the token in between. The residual is fitted from random features: those
/// of the MLP with random gates. Then
/// ```
/// fc       = the captured states' part of the fit
/// v, o     = the embedding's part, at the rank of the values, through heads that attend to their own token alone:
///            their queries are a large multiple of their keys, which are random projections of the embedding
/// gate, up = random, down = fitted to the residual
/// further layers: o = 0, down = 0, so that they pass states on until they are trained
/// lm_head  = the target's own rows, norm = the scale with the smallest loss
/// ```
/// so that the logits of depth 0 are the target's LM head applied to the guess. Training starts from these weights as
/// from random ones.
struct Eagle3FittedStart {
  /// The number of rows after which fitting stops: tens of times the number of features.
  static let mostRows = 100_000
  /// The rows that are added at a time.
  private static let chunkRows = 1024
  /// The ridge: the relative increase of the diagonal of the normal equations.
  private static let ridge: Float = 0.01

  private let target: TargetModel
  /// The head that is initialised; its other weights stay.
  private let start: DraftModel
  private let network: Eagle3Network
  private var shape: Eagle3Shape { network.shape }
  /// Calls its argument with numbered conversations until that returns false.
  private let conversations: ((Int, CapturedConversation) -> Bool) throws -> Void
  /// Called with each conversation whose values cannot be fitted.
  private let leftOut: (Int) -> Void

  init(
    target: TargetModel, start: DraftModel, network: Eagle3Network, leftOut: @escaping (Int) -> Void,
    conversations: @escaping ((Int, CapturedConversation) -> Bool) throws -> Void
  ) {
    self.target = target
    self.start = start
    self.network = network
    self.leftOut = leftOut
    self.conversations = conversations
  }

  /// The fitted weights over those of the start; nil when there is nothing to fit.
  func fitted() throws -> DraftModel? {
    let (h, attention) = (shape.hiddenSize, shape.attention)
    guard let (guess, embedding) = try linear() else { return nil }
    var tensors = Dictionary(uniqueKeysWithValues: start.parameters.map { ($0.name, $0.variable.value) })
    tensors[Eagle3Tensors.fc] = Rows.columns(guess, 0..<shape.featureWidth)
    func first(_ name: String) -> String { Eagle3Tensors.layer(0, name) }
    let (q, k) = (tensors[first("self_attn.q_proj")]!, tensors[first("self_attn.k_proj")]!)
    let (v, o) = (Tensor.zeros([attention.keyWidth, 2 * h]), Tensor.zeros([h, attention.queryWidth]))
    for (index, group) in ownTokenGroups.enumerated() {
      seeOwnToken(q, k, group: group)
      let d = attention.headDimension
      let (at, head) = (index * d, group * attention.groupSize)
      for i in 0..<d {
        (v.floats + (group * d + i) * 2 * h).update(from: embedding.right.floats + (at + i) * h, count: h)
        for row in 0..<h {
          o.floats[row * attention.queryWidth + head * d + i] =
            embedding.left.floats[row * embedding.left.columns + at + i]
        }
      }
    }
    tensors[first("self_attn.v_proj")] = v
    tensors[first("self_attn.o_proj")] = o
    let head = Rows.select(target.head, start.vocabulary.targetIDs).float32()
    if shape.variant.lmHead == .own { tensors[Eagle3Tensors.lmHead] = head }
    if shape.variant.normsQueryKey {
      // The normed q and k of a row's own token have the dot product d; this weight restores the score of 16.
      let d = attention.headDimension
      tensors[first("self_attn.q_norm")] = .filled([d], with: max(1, 16 / Float(d).squareRoot()))
    }
    let gates = Self.gates(width: shape.intermediateSize, hiddenSize: h)
    tensors[first("mlp.gate_proj")] = gates.gate
    tensors[first("mlp.up_proj")] = gates.up
    guard let mlp = try residual(of: Self.joined(guess, embedding, features: shape.featureWidth), gates) else {
      return nil
    }
    tensors[first("mlp.down_proj")] = mlp.down
    for layer in 1..<shape.layers {
      tensors[Eagle3Tensors.layer(layer, "self_attn.o_proj")] = .zeros([h, attention.queryWidth])
      tensors[Eagle3Tensors.layer(layer, "mlp.down_proj")] = .zeros([h, shape.intermediateSize])
    }
    tensors[Eagle3Tensors.norm] = .filled(
      [h], with: Self.scale(mlp.sample.predicted, mlp.sample.states, head, epsilon: shape.normEpsilon))
    return DraftModel(shape: shape, vocabulary: start.vocabulary, tensors: tensors, trainable: true)
  }

  // MARK: rows

  /// Features [N, F] and states to be predicted [N, H] of depth 0, chunk by chunk.
  private func forEachChunk(_ body: (Tensor, Tensor) -> Void) throws {
    var (features, states, waiting, done): ([Tensor], [Tensor], Int, Int) = ([], [], 0, 0)
    let (tape, tables) = (Tape(recording: false, precision: .fp32), start.tables(of: target))
    func flush() {
      if waiting > 0 { body(Self.stacked(features), Self.stacked(states)) }
      (features, states, waiting) = ([], [], 0)
    }
    try conversations { number, conversation in
      let trained = TrainedRows(mask: conversation.lossMask, depths: 1).rows(depth: 0)
      guard !trained.isEmpty else { return true }
      let tokens = trained.map { conversation.ids[$0 + 1] }
      let embedding = RMSNorm.apply(
        network.embeddings(tape, tokens, tables).value, .filled([shape.hiddenSize], with: 1), epsilon: shape.normEpsilon
      )
      let captured = Rows.gather(conversation.auxHidden, trained.map(Int32.init))
      let seen = Self.sideBySide(network.features(tape, captured).value, embedding)
      let next = Rows.gather(conversation.lastHidden, trained.map { Int32($0 + 1) })
      guard Self.canBeFitted(seen), Self.canBeFitted(next) else {
        leftOut(number)
        return true
      }
      features.append(seen)
      states.append(next)
      (waiting, done) = (waiting + trained.count, done + trained.count)
      if waiting >= Self.chunkRows { flush() }
      return done < Self.mostRows
    }
    flush()
  }

  /// Whether the sums of products over all rows stay finite: one value that is not finite, or whose square is not,
  /// would make all sums non-finite.
  static func canBeFitted(_ rows: Tensor) -> Bool {
    let squares = rows.values.reduce(0.0) { $0 + Double($1) * Double($1) }
    return squares.isFinite && squares < 1e-6 * Double(Float.greatestFiniteMagnitude)
  }

  // MARK: the guess

  /// The guess [H, F], and low-rank factors of its embedding part, at the rank of the values.
  private func linear() throws -> (Tensor, (left: Tensor, right: Tensor))? {
    let (h, width) = (shape.hiddenSize, shape.featureWidth + shape.hiddenSize)
    let (squares, guess) = (Tensor.zeros([width, width]), Tensor.zeros([h, width]))
    try forEachChunk { features, states in
      Matmul.accumulateWeightGradient(features, features, into: squares, .fp32)
      Matmul.accumulateWeightGradient(states, features, into: guess, .fp32)
    }
    guard Self.solve(squares, guess) else { return nil }
    let rank = min(h, ownTokenGroups.count * shape.attention.headDimension)
    guard let parts = LinearAlgebra.lowRank(Rows.columns(guess, shape.featureWidth..<width), rank: rank) else {
      return nil
    }
    return (guess, parts)
  }

  /// Random gate and up matrices, [M, H] each, whose outputs for normed states have variance 1.
  static func gates(width: Int, hiddenSize: Int) -> (gate: Tensor, up: Tensor) {
    func normal(_ purpose: String) -> Tensor {
      var random = RandomSource(seed: 0, purpose: purpose)
      return .normal([width, hiddenSize], deviation: 1 / Float(hiddenSize).squareRoot(), using: &random)
    }
    return (normal("fitted gate"), normal("fitted up"))
  }

  /// down [H, M], fitted to the residual of the guess [H, F], and the predicted and the target's states of the last
  /// chunk, by which the norm's scale is chosen.
  private func residual(
    of guess: Tensor, _ gates: (gate: Tensor, up: Tensor)
  ) throws -> (down: Tensor, sample: (predicted: Tensor, states: Tensor))? {
    let (h, m) = (shape.hiddenSize, shape.intermediateSize)
    let (squares, down) = (Tensor.zeros([m, m]), Tensor.zeros([h, m]))
    let ones = Tensor.filled([h], with: 1)
    var last: (predicted: Tensor, hidden: Tensor, states: Tensor)?
    try forEachChunk { features, states in
      let predicted = Matmul.forward(features, guess, .fp32)
      let normed = RMSNorm.apply(predicted, ones, epsilon: shape.normEpsilon)
      let hidden = Elementwise.swiglu(
        Matmul.forward(normed, gates.gate, .fp32), Matmul.forward(normed, gates.up, .fp32))
      let left = Tensor(states.shape)
      for i in 0..<left.count { left.floats[i] = states.floats[i] - predicted.floats[i] }
      Matmul.accumulateWeightGradient(hidden, hidden, into: squares, .fp32)
      Matmul.accumulateWeightGradient(left, hidden, into: down, .fp32)
      last = (predicted, hidden, states)
    }
    guard let last, Self.solve(squares, down) else { return nil }
    Matmul.accumulate(last.hidden, down, into: last.predicted, .fp32)
    return (down, (last.predicted, last.states))
  }

  /// Solves the least squares from the normal equations; overwrites both arguments. False if there is no solution.
  static func solve(_ squares: Tensor, _ targets: Tensor) -> Bool {
    let width = squares.columns
    // A feature that is always 0 gets a positive diagonal, and no weight.
    let mean = (0..<width).reduce(Float(0)) { $0 + squares.floats[$1 * width + $1] } / Float(width)
    for i in 0..<width { squares.floats[i * width + i] += ridge * squares.floats[i * width + i] + 1e-6 * mean }
    return LinearAlgebra.solve(squares, targets)
  }

  /// The groups whose first head attends to its own token: all of them, or half if a group is one head, so that the
  /// other heads can attend to context.
  private var ownTokenGroups: Range<Int> {
    let groups = shape.attention.kvHeads
    return 0..<(shape.attention.groupSize > 1 ? groups : (groups + 1) / 2)
  }

  /// The first head of a group gives all its weight to the key of its own token. For a random projection R of a normed
  /// embedding e, |R e|² is about d, and the score of the own key is 16.
  private func seeOwnToken(_ q: Tensor, _ k: Tensor, group: Int) {
    let (h, d) = (shape.hiddenSize, shape.attention.headDimension)
    var random = RandomSource(seed: 0, purpose: "own token \(group)")
    let projection = Tensor.normal([d, h], deviation: 1 / Float(h).squareRoot(), using: &random)
    let factor = 16 / Float(d).squareRoot()
    let head = group * shape.attention.groupSize
    for i in 0..<d {
      let (key, query) = (k.floats + (group * d + i) * 2 * h, q.floats + (head * d + i) * 2 * h)
      for j in 0..<h {
        (key[j], query[j]) = (projection.floats[i * h + j], factor * projection.floats[i * h + j])
        (key[h + j], query[h + j]) = (0, 0)
      }
    }
  }

  /// The norm's weight for which the LM head's distributions of the guesses are closest to those of the target's
  /// states.
  static func scale(_ predicted: Tensor, _ states: Tensor, _ head: Tensor, epsilon: Float) -> Float {
    let probabilities = Matmul.forward(states, head, .fp32)
    _ = Teacher.softmaxRows(probabilities)
    let count = states.rows
    let targets = SoftTargets(
      probabilities: probabilities, coverage: [Float](repeating: 1, count: count), row: (0..<count).map(Int32.init),
      contributes: [Bool](repeating: true, count: count), hit: [Int32](repeating: -1, count: count))
    let size = (states.values.reduce(0) { $0 + $1 * $1 } / Float(states.count)).squareRoot()
    let losses = (2...12).map { tenths -> (scale: Float, loss: Double) in
      let scale = size * Float(tenths) / 10
      let normed = RMSNorm.apply(predicted, .filled([predicted.columns], with: scale), epsilon: epsilon)
      let tape = Tape(recording: false, precision: .fp32)
      return (scale, tape.softTargetLoss(Variable(normed), Variable(head), targets, weight: 1).loss)
    }
    return losses.min { $0.loss < $1.loss }!.scale
  }
}
