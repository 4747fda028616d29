import EagleAutograd
import EagleModels
import EagleTensor
import Foundation

// N rows · H hidden · n captured layers · F = n H · kv key heads · d head dimension · r = kv d.

/// A least-squares initialisation of a block drafter: its first row predicts well before any training. It is EAGLE-3's
/// fitted start (`Eagle3FittedStart`) for the layers of a block drafter.
///
/// The target's state z at an anchor s is fitted by ridge regression, in three steps:
/// 1. from the captured states a at s - 1 and the normed embedding e of the anchor: z ≈ F a + E e, of which F is kept;
/// 2. from c, the norm of F a, and e: z ≈ A c + B e;
/// 3. the residual of the attention layers from random features: those of the last MLP with random gates.
///
/// The values of a layer have r dimensions. V is an orthonormal basis of the r directions that contribute most: to A
/// and B together in the first layer, and in a later layer to the part of A that the layers before it have not
/// delivered. Then
/// ```
/// fc      = F
/// k       = sign(u · x) times a constant: 1 for context, -1 for rows of the block; the direction u separates the two
/// v       = V, for context and block alike
/// head 0 of a group: a constant query, whose score is highest at the newest context (rotary embedding):  o = A Vᵀ
/// head 1 of a group, in the first layer: the query with the opposite sign, which selects its own row:    o = B Vᵀ
/// gate, up of the last layer = random;  down = fitted to the residual
/// ```
/// The other heads and MLPs contribute 0. Training starts from these weights as from random ones. If groups have one
/// head, even groups have the role of head 0 and odd groups that of head 1.
struct BlockFittedStart {
  /// The number of rows after which fitting stops: tens of times the number of features.
  static let mostRows = 100_000
  private static let chunkRows = 1024
  /// The weight of the norms of q and k: large enough for the scores to separate neighbouring positions.
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
    func context(_ a: Tensor) -> Tensor {
      normed(Matmul.forward(a.float32(), fc, .fp32))
    }
    let seen = { (a: Tensor, e: Tensor) in Eagle3FittedStart.sideBySide(context(a), e) }
    guard let fit = try regression(widths: 2 * h, seen), let layers = layers(fit.weights, fit.sample.features) else {
      return nil
    }
    var tensors = Dictionary(uniqueKeysWithValues: start.parameters.map { ($0.name, $0.variable.value) })
    tensors[BlockTensors.fc] = fc
    for (index, layer) in layers.enumerated() { write(layer, index, to: &tensors) }

    // What all layers add to the first row, as a map [H, 2H] of context and embedding, and the last MLP.
    let guess = layers.reduce(into: Tensor.zeros([h, 2 * h])) { Elementwise.accumulate($1.brought, into: $0) }
    let gates = Eagle3FittedStart.gates(width: shape.intermediateSize, hiddenSize: h)
    let last = { (name: String) in BlockTensors.layer(shape.layers - 1, "mlp.\(name)") }
    (tensors[last("gate_proj")], tensors[last("up_proj")]) = (gates.gate, gates.up)
    guard let mlp = try residual(of: guess, gates, seen) else { return nil }
    tensors[last("down_proj")] = mlp.down
    let head = Rows.select(target.head, start.vocabulary.targetIDs).float32()
    if shape.lmHead == .own { tensors[BlockTensors.lmHead] = head }
    tensors[BlockTensors.norm] = .filled(
      [h], with: Eagle3FittedStart.scale(mlp.predicted, mlp.states, head, epsilon: shape.normEpsilon))
    return DraftModel(shape: shape, vocabulary: start.vocabulary, tensors: tensors, trainable: true)
  }

  // MARK: layers

  /// The weights of a layer's attention.
  private struct Layer {
    /// u [1, H].
    let side: Tensor
    /// V [r, H].
    let basis: Tensor
    /// A Vᵀ and, in the first layer, B Vᵀ: [H, r].
    let fromContext: Tensor
    let fromToken: Tensor?
    /// What it adds to the first row, as a map of context and embedding concatenated, [H, 2H].
    let brought: Tensor
  }

  /// - Parameters:
  ///   - maps: A and B, concatenated by columns, [H, 2H]
  ///   - sample: context features and embeddings, concatenated by columns, [N, 2H]
  private func layers(_ maps: Tensor, _ sample: Tensor) -> [Layer]? {
    let h = shape.hiddenSize
    // The part of A that no layer has delivered yet, and B.
    let (left, ofToken) = (Rows.columns(maps, 0..<h), Rows.columns(maps, h..<2 * h))
    let contexts = Rows.columns(sample, 0..<h)
    let masked = Eagle3FittedStart.sideBySide(
      contexts, embeddings([Int32](repeating: shape.maskToken, count: sample.rows), start.tables(of: target)))
    // The layer's input for block rows: at first the embeddings of anchors and of the mask token.
    var blocks = Eagle3FittedStart.stacked([Rows.columns(sample, h..<2 * h), Rows.columns(masked, h..<2 * h)])
    let (first, others) = (Tensor.zeros([sample.rows, h]), Tensor.zeros([sample.rows, h]))
    var layers: [Layer] = []
    for index in 0..<shape.layers {
      guard let side = direction(contexts, blocks), let basis = basis(index == 0 ? [left, ofToken] : [left]) else {
        return nil
      }
      let fromContext = Matmul.forward(left, basis, .fp32)
      let fromToken = index == 0 ? Matmul.forward(ofToken, basis, .fp32) : nil
      let delivered = product(fromContext, basis)
      let brought = Eagle3FittedStart.sideBySide(
        delivered, fromToken.map { product($0, basis) } ?? Tensor.zeros([h, h]))
      layers.append(
        Layer(side: side, basis: basis, fromContext: fromContext, fromToken: fromToken, brought: brought))
      for i in 0..<left.count { left.floats[i] -= delivered.floats[i] }
      Matmul.accumulate(sample, brought, into: first, .fp32)
      Matmul.accumulate(masked, brought, into: others, .fp32)
      blocks = normed(Eagle3FittedStart.stacked([first, others]))
    }
    return layers
  }

  /// Writes the attention of a layer, and an MLP that contributes 0.
  private func write(_ layer: Layer, _ index: Int, to tensors: inout [String: Tensor]) {
    let (h, d) = (shape.hiddenSize, shape.attention.headDimension)
    let name = { (part: String) in BlockTensors.layer(index, part) }
    let q = tensors[name("self_attn.q_proj")]!
    let (k, o) = (Tensor.zeros([shape.attention.keyWidth, h]), Tensor.zeros([h, shape.attention.queryWidth]))
    for group in 0..<shape.attention.kvHeads {
      for i in 0..<d / 2 { write(layer.side, 1, to: k, row: group * d + i) }
      for (head, role) in roles(of: group) {
        guard let part = role == .context ? layer.fromContext : layer.fromToken else { continue }
        point(q, head: head, role, layer.side)
        for row in 0..<h {
          for i in 0..<d {
            o.floats[row * o.columns + head * d + i] = part.floats[row * part.columns + group * d + i]
          }
        }
      }
    }
    (tensors[name("self_attn.k_proj")], tensors[name("self_attn.v_proj")]) = (k, layer.basis)
    tensors[name("self_attn.o_proj")] = o
    for norm in ["q_norm", "k_norm"] { tensors[name("self_attn.\(norm)")] = .filled([d], with: Self.sharpness) }
    tensors[name("mlp.down_proj")] = .zeros([h, shape.intermediateSize])
  }

  /// The product a b of a [O, r] and b [r, I].
  private func product(_ a: Tensor, _ b: Tensor) -> Tensor { Matmul.forward(a, Rows.transposed(b), .fp32) }

  private func normed(_ x: Tensor) -> Tensor {
    RMSNorm.apply(x, .filled([x.columns], with: 1), epsilon: shape.normEpsilon)
  }

  // MARK: fits

  /// The weights [H, width] of the least-squares fit of z from some features, and the rows of the last chunk. Nil if
  /// there are no rows or no solution.
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

  /// down [H, M] of the last MLP, fitted to the residual of the guess [H, 2H], and the predicted and the target's
  /// states of the last chunk.
  private func residual(
    of guess: Tensor, _ gates: (gate: Tensor, up: Tensor), _ features: (Tensor, Tensor) -> Tensor
  ) throws -> (down: Tensor, predicted: Tensor, states: Tensor)? {
    let (h, m) = (shape.hiddenSize, shape.intermediateSize)
    let (squares, down) = (Tensor.zeros([m, m]), Tensor.zeros([h, m]))
    var last: (predicted: Tensor, hidden: Tensor, states: Tensor)?
    try forEachChunk(features) { features, states in
      let predicted = Matmul.forward(features, guess, .fp32)
      let input = normed(predicted)
      let hidden = Elementwise.swiglu(
        Matmul.forward(input, gates.gate, .fp32), Matmul.forward(input, gates.up, .fp32))
      let left = Tensor(states.shape)
      for i in 0..<left.count { left.floats[i] = states.floats[i] - predicted.floats[i] }
      Matmul.accumulateWeightGradient(hidden, hidden, into: squares, .fp32)
      Matmul.accumulateWeightGradient(left, hidden, into: down, .fp32)
      last = (predicted, hidden, states)
    }
    guard let last, Eagle3FittedStart.solve(squares, down) else { return nil }
    Matmul.accumulate(last.hidden, down, into: last.predicted, .fp32)
    return (down, last.predicted, last.states)
  }

  /// The first layer's normed inputs for tokens, [N, H], from which queries, keys and values are computed.
  private func embeddings(_ tokens: [Int32], _ tables: TargetTables) -> Tensor {
    normed(network.inputs(tokens, tables).value.float32())
  }

  /// u [1, H] with u · x > 0 for context and u · x < 0 for rows of blocks, as far as one direction separates them.
  private func direction(_ contexts: Tensor, _ blocks: Tensor) -> Tensor? {
    let h = shape.hiddenSize
    let rows = Eagle3FittedStart.stacked([contexts, blocks])
    let sides = Tensor([rows.rows, 1])
    for i in 0..<rows.rows { sides.floats[i] = i < contexts.rows ? 1 : -1 }
    let (squares, side) = (Tensor.zeros([h, h]), Tensor.zeros([1, h]))
    Matmul.accumulateWeightGradient(rows, rows, into: squares, .fp32)
    Matmul.accumulateWeightGradient(sides, rows, into: side, .fp32)
    return Eagle3FittedStart.solve(squares, side) ? side : nil
  }

  /// An orthonormal basis [r, H] of the r input directions that contribute most to these maps together, padded with
  /// zero rows.
  private func basis(_ maps: [Tensor]) -> Tensor? {
    let h = shape.hiddenSize
    let squares = Tensor.zeros([h, h])
    for map in maps { Matmul.accumulateWeightGradient(map, map, into: squares, .fp32) }
    let (rank, result) = (min(shape.attention.keyWidth, h), Tensor.zeros([shape.attention.keyWidth, h]))
    guard let parts = LinearAlgebra.lowRank(squares, rank: rank) else { return nil }
    let sizes = (0..<rank).map { row in
      (0..<h).reduce(Float(0)) { $0 + parts.right.floats[row * h + $1] * parts.right.floats[row * h + $1] }
        .squareRoot()
    }
    // Directions of negligible size are rounding errors, or were delivered by layers below.
    for row in 0..<rank where sizes[row] > 1e-3 * sizes[0] {
      for i in 0..<h { result.floats[row * h + i] = parts.right.floats[row * h + i] / sizes[row] }
    }
    return result
  }

  // MARK: heads

  private enum Role { case context, token }

  /// The heads of a group that are written, with their roles.
  private func roles(of group: Int) -> [(head: Int, role: Role)] {
    let first = group * shape.attention.groupSize
    if shape.attention.groupSize > 1 { return [(first, .context), (first + 1, .token)] }
    return [(first, group % 2 == 0 ? .context : .token)]
  }

  /// Writes a head's query, which is constant for tokens: -u · e > 0. In the first element of each rotated pair, the
  /// keys of context are 1 and those of tokens -1, times a constant. Pairs that rotate slowly select the newest
  /// context; all pairs together select a token's own position.
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
