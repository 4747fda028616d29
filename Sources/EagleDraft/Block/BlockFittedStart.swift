import EagleAutograd
import EagleModels
import EagleTensor
import Foundation

// N rows · H hidden · n captured layers · F = n H · kv key heads · d head dimension · r = kv d.

/// A block drafter whose first row predicts before it is trained: the linear guess of EAGLE-3's fitted start, written into
/// its first layer.
///
/// The target's state z at an anchor s is fitted by least squares (ridge) from the captured states a at s - 1 and the normed embedding e of the anchor, then from
/// c, which norms fc(a), in their place: z ≈ A c + B e. V holds the r directions that matter most to both. Then
/// ```
/// fc      = the states' part of the first fit
/// k       = the sign of u · x times a constant: 1 for context, -1 for tokens, which u tells apart
/// v       = V, for context and tokens alike
/// head 0 of a group: a constant query, which the rotary embedding turns to the newest context:  o = A Vᵀ
/// head 1 of a group: the same with the other sign, which finds its own token:                   o = B Vᵀ
/// ```
/// The other heads of that layer add nothing at first, and the layers above pass it through. Everything is trained from
/// there as from a random start. Groups of one head give half of them to each part.
struct BlockFittedStart {
  /// Rows that are fitted: tens of times the features.
  static let mostRows = 100_000
  private static let chunkRows = 1024
  /// What q and k are scaled by: their scores then tell neighbours apart.
  private static let sharpness: Float = 7

  let target: TargetModel
  let start: DraftModel
  let network: BlockNetwork
  let leftOut: (Int) -> Void
  let conversations: ((Int, CapturedConversation) -> Bool) throws -> Void

  private var shape: BlockShape { network.shape }

  func fitted() throws -> DraftModel? {
    let (h, f) = (shape.hiddenSize, shape.featureWidth)
    guard let joint = try regression(widths: f + h, { a, e in Eagle3FittedStart.sideBySide(a.float32(), e) }) else {
      return nil
    }
    let fc = Rows.columns(joint.weights, 0..<f)
    let ones = Tensor.filled([h], with: 1)
    func context(_ a: Tensor) -> Tensor {
      RMSNorm.apply(Matmul.forward(a.float32(), fc, .fp32), ones, epsilon: shape.normEpsilon)
    }
    guard let fit = try regression(widths: 2 * h, { a, e in Eagle3FittedStart.sideBySide(context(a), e) }),
      let side = direction(fit.sample)
    else { return nil }
    let (ofContext, ofToken) = (Rows.columns(fit.weights, 0..<h), Rows.columns(fit.weights, h..<2 * h))
    guard let basis = basis(ofContext, ofToken) else { return nil }

    var tensors = Dictionary(uniqueKeysWithValues: start.parameters.map { ($0.name, $0.variable.value) })
    tensors[BlockTensors.fc] = fc
    let v = basis
    let (fromContext, fromToken) = (Matmul.forward(ofContext, v, .fp32), Matmul.forward(ofToken, v, .fp32))
    let q = tensors[BlockTensors.layer(0, "self_attn.q_proj")]!
    let k = Tensor.zeros([shape.attention.keyWidth, h])
    let o = Tensor.zeros([h, shape.attention.queryWidth])
    let d = shape.attention.headDimension
    for group in 0..<shape.attention.kvHeads {
      for i in 0..<d / 2 { write(side, 1, to: k, row: group * d + i) }
      for (head, role) in roles(of: group) {
        point(q, head: head, role, side)
        let part = role == .context ? fromContext : fromToken
        for row in 0..<h {
          for i in 0..<d {
            o.floats[row * o.columns + head * d + i] = part.floats[row * part.columns + group * d + i]
          }
        }
      }
    }
    tensors[BlockTensors.layer(0, "self_attn.q_proj")] = q
    tensors[BlockTensors.layer(0, "self_attn.k_proj")] = k
    tensors[BlockTensors.layer(0, "self_attn.v_proj")] = v
    tensors[BlockTensors.layer(0, "self_attn.o_proj")] = o
    for name in ["q_norm", "k_norm"] {
      tensors[BlockTensors.layer(0, "self_attn.\(name)")] = .filled([d], with: Self.sharpness)
    }
    for layer in 0..<shape.layers {
      if layer > 0 { tensors[BlockTensors.layer(layer, "self_attn.o_proj")] = .zeros([h, shape.attention.queryWidth]) }
      tensors[BlockTensors.layer(layer, "mlp.down_proj")] = .zeros([h, shape.intermediateSize])
    }
    let head = Rows.select(target.head, start.vocabulary.targetIDs).float32()
    if shape.lmHead == .own { tensors[BlockTensors.lmHead] = head }
    let predicted = Matmul.forward(fit.sample.features, fit.weights, .fp32)
    tensors[BlockTensors.norm] = .filled(
      [h], with: Eagle3FittedStart.scale(predicted, fit.sample.states, head, epsilon: shape.normEpsilon))
    return DraftModel(shape: shape, vocabulary: start.vocabulary, tensors: tensors, trainable: true)
  }

  // MARK: fits

  /// Weights [H, width] of the best prediction of z from some features, and the last rows.
  private func regression(
    widths width: Int, _ features: (_ captured: Tensor, _ embedding: Tensor) -> Tensor
  ) throws -> (weights: Tensor, sample: (features: Tensor, states: Tensor))? {
    let (squares, weights) = (Tensor.zeros([width, width]), Tensor.zeros([shape.hiddenSize, width]))
    var last: (features: Tensor, states: Tensor)?
    try forEachChunk(features) { features, states in
      Matmul.accumulateWeightGradient(features, features, into: squares, .fp32)
      Matmul.accumulateWeightGradient(states, features, into: weights, .fp32)
      last = (features, states)
    }
    guard let last, Eagle3FittedStart.solve(squares, weights) else { return nil }
    return (weights, last)
  }

  /// Features [N, ·] and states [N, H] of trained rows, chunk by chunk.
  private func forEachChunk(_ features: (Tensor, Tensor) -> Tensor, _ body: (Tensor, Tensor) -> Void) throws {
    var (parts, states, waiting, done): ([Tensor], [Tensor], Int, Int) = ([], [], 0, 0)
    let tables = start.tables(of: target)
    func flush() {
      if waiting > 0 { body(Eagle3FittedStart.stacked(parts), Eagle3FittedStart.stacked(states)) }
      (parts, states, waiting) = ([], [], 0)
    }
    try conversations { number, conversation in
      let anchors = BlockAnchors(mask: conversation.lossMask, proposals: 1).positions
      guard !anchors.isEmpty else { return true }
      let captured = Rows.gather(conversation.auxHidden, anchors.map { Int32($0 - 1) })
      let seen = features(captured, embeddings(anchors.map { conversation.ids[$0] }, tables))
      let next = Rows.gather(conversation.lastHidden, anchors.map(Int32.init)).float32()
      guard Eagle3FittedStart.canBeFitted(seen), Eagle3FittedStart.canBeFitted(next) else {
        leftOut(number)
        return true
      }
      parts.append(seen)
      states.append(next)
      (waiting, done) = (waiting + anchors.count, done + anchors.count)
      if waiting >= Self.chunkRows { flush() }
      return done < Self.mostRows
    }
    flush()
  }

  /// What the first layer's queries, keys and values of tokens are made from, [N, H].
  private func embeddings(_ tokens: [Int32], _ tables: TargetTables) -> Tensor {
    RMSNorm.apply(
      network.inputs(tokens, tables).value.float32(), .filled([shape.hiddenSize], with: 1),
      epsilon: shape.normEpsilon)
  }

  /// u [1, H] with u · c > 0 for context and u · e < 0 for tokens, the mask token among them, as far as a direction tells
  /// them apart.
  private func direction(_ sample: (features: Tensor, states: Tensor)) -> Tensor? {
    let h = shape.hiddenSize
    let mask = embeddings([Int32](repeating: shape.maskToken, count: 32), start.tables(of: target))
    let tokens = Eagle3FittedStart.stacked([Rows.columns(sample.features, h..<2 * h), mask])
    let rows = Eagle3FittedStart.stacked([Rows.columns(sample.features, 0..<h), tokens])
    let sides = Tensor([rows.rows, 1])
    for i in 0..<rows.rows { sides.floats[i] = i < sample.features.rows ? 1 : -1 }
    let (squares, side) = (Tensor.zeros([h, h]), Tensor.zeros([1, h]))
    Matmul.accumulateWeightGradient(rows, rows, into: squares, .fp32)
    Matmul.accumulateWeightGradient(sides, rows, into: side, .fp32)
    return Eagle3FittedStart.solve(squares, side) ? side : nil
  }

  /// The r directions [r, H], orthonormal, that matter most to both maps together.
  private func basis(_ a: Tensor, _ b: Tensor) -> Tensor? {
    let h = shape.hiddenSize
    let squares = Tensor.zeros([h, h])
    for map in [a, b] { Matmul.accumulateWeightGradient(map, map, into: squares, .fp32) }
    let rank = shape.attention.keyWidth
    guard let parts = LinearAlgebra.lowRank(squares, rank: min(rank, h)) else { return nil }
    let result = Tensor.zeros([rank, h])
    for row in 0..<min(rank, h) {
      let from = parts.right.floats + row * h
      let size = (0..<h).reduce(Float(0)) { $0 + from[$1] * from[$1] }.squareRoot()
      for i in 0..<h { result.floats[row * h + i] = from[i] / max(size, 1e-20) }
    }
    return result
  }

  // MARK: heads

  private enum Role { case context, token }

  /// The heads of a group that are written, and what they find.
  private func roles(of group: Int) -> [(head: Int, role: Role)] {
    let first = group * shape.attention.groupSize
    if shape.attention.groupSize > 1 { return [(first, .context), (first + 1, .token)] }
    return [(first, group % 2 == 0 ? .context : .token)]
  }

  /// A query that is constant for tokens: -u · e > 0. Keys of context are 1 in the first element of each rotated pair, and
  /// those of tokens -1. Pairs that turn slowly find the newest context, all pairs together a token's own place.
  private func point(_ q: Tensor, head: Int, _ role: Role, _ side: Tensor) {
    let d = shape.attention.headDimension
    for i in 0..<d {
      let speed = i < d / 2 ? network.rotary.frequencies[i] : 0
      let isUsed = i < d / 2 && (role == .token || (0.001...0.5).contains(speed))
      write(side, isUsed ? (role == .context ? -1 : 1) : 0, to: q, row: head * d + i)
    }
  }

  private func write(_ side: Tensor, _ factor: Float, to matrix: Tensor, row: Int) {
    for i in 0..<matrix.columns { matrix.floats[row * matrix.columns + i] = factor * side.floats[i] }
  }
}
