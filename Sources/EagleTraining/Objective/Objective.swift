import EagleAutograd
import EagleCaptureStore
import EagleCore
import EagleModels
import EagleTensor
import EagleText

// N prefix rows · R_k trained rows of depth k · K depths.

/// Sums of one depth over rows; ranks add theirs before anything is divided.
package struct DepthSums: Codable, Sendable, Equatable {
  package var rows = 0.0
  package var loss = 0.0
  package var hits = 0.0
  package var overlap = 0.0

  package init(rows: Double = 0, loss: Double = 0, hits: Double = 0, overlap: Double = 0) {
    self.rows = rows
    self.loss = loss
    self.hits = hits
    self.overlap = overlap
  }

  var isFinite: Bool { loss.isFinite && overlap.isFinite }

  static func + (a: DepthSums, b: DepthSums) -> DepthSums {
    DepthSums(rows: a.rows + b.rows, loss: a.loss + b.loss, hits: a.hits + b.hits, overlap: a.overlap + b.overlap)
  }
}

/// Training-time test (TTT): the draft drafts K tokens in a row on its own states, and each is held against the target.
/// The k-th of these TTT steps is called depth k, so that a step is always one of the optimiser.
///
/// loss = Σ_k decay^k · Σ over trained rows of ℓ / N_k, ℓ being CE(q, softmax(logits)) or another `SoftTargetLoss`,
/// where N_k counts the trained rows of depth k in the global batch. Or, with a mean over conversations, Σ_k decay^k times
/// the mean of the conversations' own means, over those that have trained rows of depth k. So the gradient does not depend on how the batch is
/// cut: short conversations are laid end to end and go through one pass, a long one is computed chunk by chunk
/// (`ChunkedConversation`).
package struct Objective {
  /// How much is recorded at a time.
  package struct Chunking: Sendable, Equatable {
    /// A trained row keeps 2.1 MB for its backward pass at Qwen3-4B's size and K 7: chunks of 512 rows need 1.4 GB with
    /// their temporary results, 1,024 rows 2.7 GB. On two cores with AVX512-BF16 chunks of 256, 512 and 1,024 rows are
    /// equally fast, to the noise of 5 %.
    package static let standard = Chunking(longestWhole: BatchPlan.microBatchTokens, rows: 512)

    /// Prefix rows of the longest conversation that goes through one pass.
    package let longestWhole: Int
    /// Trained rows of a chunk of a longer one, at most.
    package let rows: Int

    package init(longestWhole: Int, rows: Int) {
      precondition(longestWhole > 0 && rows > 0, "chunks of \(rows) rows beyond \(longestWhole)")
      self.longestWhole = longestWhole
      self.rows = rows
    }
  }

  let draft: DraftModel
  let tables: TargetTables
  let teacher: Teacher
  let depths: Int  // K
  let stepDecay: Double
  let loss: SoftTargetLoss
  let mean: LossMean
  let precision: ComputePrecision
  let chunking: Chunking
  let clock: PhaseClock
  /// Called whenever a chunk is done: a long conversation takes minutes.
  let tick: () -> Void

  package init(
    draft: DraftModel, tables: TargetTables, teacher: Teacher, depths: Int, stepDecay: Double,
    loss: SoftTargetLoss = .crossEntropy, mean: LossMean = .tokens, precision: ComputePrecision,
    chunking: Chunking = .standard,
    clock: PhaseClock = PhaseClock(), tick: @escaping () -> Void = {}
  ) {
    self.draft = draft
    self.tables = tables.widened
    self.teacher = teacher
    self.depths = depths
    self.stepDecay = stepDecay
    (self.loss, self.mean) = (loss, mean)
    self.precision = precision
    self.chunking = chunking
    self.clock = clock
    self.tick = tick
  }

  /// Conversations with their teacher targets: the part of the work that does not depend on the draft's weights.
  package struct Batch {
    fileprivate let parts: [Part]
  }

  /// What is computed in one go.
  fileprivate enum Part {
    case whole(LabelledBatch)
    case chunked(ChunkedConversation, FirstChunk)
  }

  /// How losses become gradients.
  fileprivate struct Backward {
    let globalRows: [Double]  // N_k, [K]
    let isRecording: Bool
    /// Parameters whose gradient is final after this pass.
    var final: [Variable]
  }

  /// A micro-batch with its teacher targets.
  fileprivate struct LabelledBatch {
    let rows: MicroBatch
    let targets: TeacherTargets
  }

  /// The first chunk of a conversation, whose targets are computed ahead; those of another chunk are computed right
  /// before it, so that the targets of one chunk exist at a time.
  fileprivate final class FirstChunk {
    private var batch: LabelledBatch?

    init(_ batch: LabelledBatch) { self.batch = batch }

    /// The chunk; nil the next time.
    func take() -> LabelledBatch? {
      defer { batch = nil }
      return batch
    }
  }

  /// Lays conversations out and computes their teacher targets.
  package func batch(_ conversations: [CapturedConversation]) -> Batch {
    var (short, parts) = ([CapturedConversation](), [Part]())
    for conversation in conversations {
      let trained = TrainedRows(mask: conversation.lossMask, depths: depths)
      guard trained.prefixCount > chunking.longestWhole else {
        short.append(conversation)
        continue
      }
      let chunked = ChunkedConversation(
        conversation, trained, rows: chunking.rows, layout)
      parts.append(.chunked(chunked, FirstChunk(labelled(chunked.batch(0)))))
    }
    let batch = MicroBatch(short, depths: depths, layout)
    if !batch.nextTokens.isEmpty { parts.append(.whole(labelled(batch))) }
    return Batch(parts: parts)
  }

  /// What rows see, and how they are weighed.
  private var layout: RowLayout { RowLayout(window: draft.shape.variant.window, mean: mean) }

  private func labelled(_ batch: MicroBatch) -> LabelledBatch {
    LabelledBatch(rows: batch, targets: clock.measure(.teacher) { teacher.targets(of: batch) })
  }

  /// Loss and metrics of conversations, and with `recording` their gradients, added to the draft's parameters.
  /// `globalRows` are N_k of the global batch, K of them: rows, or conversations with rows where the mean is over these.
  package func run(_ conversations: [CapturedConversation], globalRows: [Double], recording: Bool) -> [DepthSums] {
    run(batch(conversations), globalRows: globalRows, recording: recording)
  }

  func run(_ batch: Batch, globalRows: [Double], recording: Bool) -> [DepthSums] {
    run(batch, globalRows: globalRows, recording: recording) { _ in }
  }

  /// - Parameter isFinal: called with each of the draft's parameters, once, as soon as nothing is added to its gradient
  ///   any more; not at all when no row is trained
  package func run(
    _ batch: Batch, globalRows: [Double], recording: Bool, isFinal: (Variable) throws -> Void
  ) rethrows -> [DepthSums] {
    var sums = [DepthSums](repeating: DepthSums(), count: depths)
    for (index, part) in batch.parts.enumerated() {
      let isLast = index + 1 == batch.parts.count
      let backward = Backward(
        globalRows: globalRows, isRecording: recording, final: isLast ? draft.parameters.map(\.variable) : [])
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
  ///   - keys: depth-0 keys and values of the prefix, for a chunk; computed from the micro-batch when nil
  ///   - backward: how losses are weighed, and whether gradients are wanted
  private func run(
    _ labelled: LabelledBatch, keys: PrefixKeys?, _ backward: Backward, isFinal: (Variable) throws -> Void
  ) rethrows -> [DepthSums] {
    let batch = labelled.rows
    var sums = [DepthSums](repeating: DepthSums(), count: depths)
    let tape = Tape(recording: backward.isRecording, precision: precision)
    var pass = clock.measure(.draftForward) {
      ObjectivePass(draft: draft, tables: tables, batch: batch, tape: tape, keys: keys)
    }
    for k in 0..<depths where !batch.depths[k].rows.isEmpty {
      let hidden = clock.measure(.draftForward) { draft.normalized(tape, pass.forward(depth: k)) }
      let counted = clock.measure(.headAndLoss) {
        tape.softTargetLoss(
          hidden, draft.lmHead(tables), teacher.softTargets(labelled.targets, at: batch.depths[k]), loss,
          weight: Float(weight(k) / backward.globalRows[k]))
      }
      sums[k] = DepthSums(
        rows: Double(batch.depths[k].rows.count), loss: counted.loss, hits: counted.hits, overlap: counted.overlap)
    }
    try clock.measure(.backward) { try tape.backward(telling: backward.final, isFinal: isFinal) }
    return sums
  }

  /// A long conversation: the prefix's keys, chunk after chunk, and the backward pass of the prefix.
  ///
  /// The keys' own weights, and what lies below them, get their last contribution from the prefix; the other parameters
  /// from the last chunk.
  private func run(
    _ conversation: ChunkedConversation, _ first: FirstChunk, _ backward: Backward, isFinal: (Variable) throws -> Void
  ) rethrows -> [DepthSums] {
    var sums = [DepthSums](repeating: DepthSums(), count: depths)
    let prefix = conversation.prefix(of: draft, tables, precision)
    let keys = clock.measure(.draftForward) { prefix.keys(wantingGradients: backward.isRecording) }
    let below = draft.keyParameters
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
      try prefix.backward(keys, telling: backward.final.isEmpty ? [] : below, isFinal: isFinal)
    }
    return sums
  }

  /// decay^k, the weight of depth k in the loss.
  func weight(_ k: Int) -> Double { (0..<k).reduce(1.0) { value, _ in value * stepDecay } }
}
