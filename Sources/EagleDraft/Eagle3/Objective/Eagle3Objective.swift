import EagleAutograd
import EagleCore
import EagleModels
import EagleRunFiles
import EagleTensor

// N prefix rows · R_k trained rows of depth k · K depths.

/// Training-time test (TTT): the draft drafts K tokens in a row on its own states, and each is compared with the
/// target.
/// The k-th of these TTT steps is called depth k, so that a step is always one of the optimiser.
///
/// loss = Σ_k decay^k · Σ over trained rows of ℓ / N_k, ℓ being CE(q, softmax(logits)) or another `SoftTargetLoss`,
/// where N_k counts the trained rows of depth k in the global batch: all, or those that the epoch samples. Or, with a
/// mean over conversations, Σ_k decay^k times the mean of the conversations' own means, over those that have trained
/// rows of depth k. So the gradient does not depend on how the batch is divided: short conversations are concatenated
/// and computed in one pass, a long one is computed chunk by chunk (`ChunkedConversation`).
struct Eagle3Objective: Objective {
  let network: Eagle3Network
  /// All trained tensors of the head.
  let parameters: [Variable]
  let tables: TargetTables
  let teacher: Teacher
  let settings: ObjectiveSettings
  let clock: PhaseClock
  /// Called whenever a chunk is done: a long conversation takes minutes.
  let tick: () -> Void
  private let loss: SoftTargetLoss

  init(
    network: Eagle3Network, parameters: [Variable], tables: TargetTables, teacher: Teacher,
    settings: ObjectiveSettings, clock: PhaseClock, tick: @escaping () -> Void
  ) {
    self.network = network
    self.parameters = parameters
    self.tables = tables.widened
    self.teacher = teacher
    self.settings = settings
    self.clock = clock
    self.tick = tick
    loss = (settings.loss ?? .kl).kind
  }

  var positions: Int { settings.tttLength }
  private var precision: ComputePrecision { settings.precision }

  func rowCounts(conversation: Int, mask: [UInt8], epoch: Int?) -> [Int] {
    let trained = trainedRows(conversation: conversation, mask: mask, epoch: epoch)
    return (0..<positions).map { k in
      settings.mean == .tokens ? trained.count(depth: k) : min(1, trained.count(depth: k))
    }
  }

  /// The rows that an epoch trains; all of them when `epoch` is nil.
  private func trainedRows(conversation: Int, mask: [UInt8], epoch: Int?) -> TrainedRows {
    let all = TrainedRows(mask: mask, depths: positions)
    guard let epoch else { return all }
    return all.sampled(share: settings.tttShare, seed: settings.seed, conversation: conversation, epoch: epoch)
  }

  func metrics(_ sums: [PositionSums], leftOut: Int?) -> ObjectiveMetrics {
    ObjectiveMetrics(sums, weights: sums.indices.map(weight), leftOut: leftOut)
  }

  /// Conversations laid out, with the objective that runs them.
  private struct Batch: ObjectiveBatch {
    let objective: Eagle3Objective
    let parts: [Part]

    func run(
      globalRows: [Double], recording: Bool, isFinal: (Variable) throws -> Void
    ) rethrows -> [PositionSums] {
      try objective.run(parts, globalRows: globalRows, recording: recording, isFinal: isFinal)
    }
  }

  /// The unit of one forward and backward computation.
  private enum Part {
    case whole(LabelledBatch)
    case chunked(ChunkedConversation, FirstChunk)
  }

  /// The normalisation of the losses, and which gradients are computed.
  private struct Backward {
    let globalRows: [Double]  // N_k, [K]
    let isRecording: Bool
    /// Parameters whose gradient is final after this pass.
    var final: [Variable]
  }

  /// A micro-batch with its teacher targets.
  private struct LabelledBatch {
    let rows: MicroBatch
    let targets: TeacherTargets
  }

  /// The first chunk of a conversation, whose targets are computed ahead; those of another chunk are computed right
  /// before it, so that the targets of one chunk exist at a time.
  private final class FirstChunk {
    private var batch: LabelledBatch?

    init(_ batch: LabelledBatch) { self.batch = batch }

    /// The chunk at the first call, nil afterwards.
    func take() -> LabelledBatch? {
      defer { batch = nil }
      return batch
    }
  }

  /// Lays conversations out and computes their teacher targets.
  func batch(
    _ asked: [ConversationPart], _ conversations: [CapturedConversation], epoch: Int?
  ) -> any ObjectiveBatch {
    var (short, parts) = ([(CapturedConversation, TrainedPart)](), [Part]())
    for (part, conversation) in zip(asked, conversations) {
      let rows = trainedRows(conversation: part.conversation, mask: conversation.lossMask, epoch: epoch)
      let trained = TrainedPart(rows, part.rows)
      guard trained.prefixCount > settings.chunking.longestWhole else {
        short.append((conversation, trained))
        continue
      }
      let chunked = ChunkedConversation(conversation, trained, rows: settings.chunking.rows, layout)
      parts.append(.chunked(chunked, FirstChunk(labelled(chunked.batch(0)))))
    }
    let batch = MicroBatch(short, depths: positions, layout)
    if !batch.nextTokens.isEmpty { parts.append(.whole(labelled(batch))) }
    return Batch(objective: self, parts: parts)
  }

  /// The window of rows, and the weighting of their losses.
  private var layout: RowLayout { RowLayout(window: network.shape.variant.window, mean: settings.mean) }

  private func labelled(_ batch: MicroBatch) -> LabelledBatch {
    LabelledBatch(
      rows: batch,
      targets: clock.measure(.teacher) {
        teacher.targets(of: batch.teacher)
      })
  }

  /// - Parameter isFinal: as in `ObjectiveBatch`
  private func run(
    _ parts: [Part], globalRows: [Double], recording: Bool, isFinal: (Variable) throws -> Void
  ) rethrows -> [PositionSums] {
    var sums = noSums
    for (index, part) in parts.enumerated() {
      let isLast = index + 1 == parts.count
      let backward = Backward(globalRows: globalRows, isRecording: recording, final: isLast ? parameters : [])
      let counted =
        switch part {
        case .whole(let batch): try run(batch, keys: nil, backward, isFinal: isFinal)
        case .chunked(let conversation, let first): try run(conversation, first, backward, isFinal: isFinal)
        }
      sums = zip(sums, counted).map { $0 + $1 }
    }
    return sums
  }

  /// All depths of a micro-batch and their backward pass.
  ///
  /// - Parameters:
  ///   - keys: depth-0 keys and values of the prefix in each layer, for a chunk; computed from the micro-batch when nil
  ///   - backward: how losses are weighed, and whether gradients are wanted
  private func run(
    _ labelled: LabelledBatch, keys: [PrefixKeys]?, _ backward: Backward, isFinal: (Variable) throws -> Void
  ) rethrows -> [PositionSums] {
    let batch = labelled.rows
    var sums = noSums
    let tape = Tape(recording: backward.isRecording, precision: precision)
    var pass = clock.measure(.draftForward) {
      Eagle3Pass(network, tables: tables, batch: batch, tape: tape, keys: keys)
    }
    for k in 0..<positions where !batch.depths[k].rows.isEmpty {
      let hidden = clock.measure(.draftForward) { network.normalized(tape, pass.forward(depth: k)) }
      let counted = clock.measure(.headAndLoss) {
        tape.softTargetLoss(
          hidden, network.lmHead(tables), labelled.targets.targets(at: batch.depths[k]), loss,
          weight: Float(weight(k) / backward.globalRows[k]))
      }
      sums[k] = PositionSums(
        rows: Double(batch.depths[k].rows.count), loss: counted.loss, hits: counted.hits, overlap: counted.overlap)
    }
    try clock.measure(.backward) { try tape.backward(telling: backward.final, isFinal: isFinal) }
    return sums
  }

  /// Computes a long conversation: the prefix's keys, then the chunks, then the backward pass of the prefix.
  ///
  /// The weights of keys and values, and the parameters below them, get their last contribution from the prefix; the
  /// other parameters, those of the last layer's rows and of the LM head, from the last chunk.
  private func run(
    _ conversation: ChunkedConversation, _ first: FirstChunk, _ backward: Backward, isFinal: (Variable) throws -> Void
  ) rethrows -> [PositionSums] {
    var sums = noSums
    let prefix = conversation.prefix(of: network, tables, precision)
    let keys = clock.measure(.draftForward) { prefix.keys(wantingGradients: backward.isRecording) }
    let below = (0..<network.shape.layers).flatMap(network.keyParameters)
    let above = backward.final.filter { parameter in !below.contains { $0 === parameter } }
    for index in conversation.chunks.indices {
      let batch = first.take() ?? labelled(conversation.batch(index))
      var backward = backward
      backward.final = index + 1 == conversation.chunks.count ? above : []
      let counted = try run(batch, keys: keys, backward, isFinal: isFinal)
      sums = zip(sums, counted).map { $0 + $1 }
      tick()
    }
    guard backward.isRecording else { return sums }
    try clock.measure(.backward) {
      try prefix.backward(keys, tells: !backward.final.isEmpty, isFinal: isFinal)
    }
    return sums
  }

  /// decay^k, the weight of depth k in the loss.
  func weight(_ k: Int) -> Double { (0..<k).reduce(1.0) { value, _ in value * settings.stepDecay } }
}
