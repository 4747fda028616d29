import EagleAutograd
import EagleCaptureStore
import EagleModels
import EagleTensor
import EagleText

// N prefix rows · R_k trained rows of step k · K steps.

/// Sums of one step over rows; ranks add theirs before anything is divided.
public struct StepSums: Codable, Sendable, Equatable {
  public var rows = 0.0
  public var loss = 0.0
  public var hits = 0.0
  public var overlap = 0.0

  public init(rows: Double = 0, loss: Double = 0, hits: Double = 0, overlap: Double = 0) {
    self.rows = rows
    self.loss = loss
    self.hits = hits
    self.overlap = overlap
  }

  var isFinite: Bool { loss.isFinite && overlap.isFinite }

  static func + (a: StepSums, b: StepSums) -> StepSums {
    StepSums(rows: a.rows + b.rows, loss: a.loss + b.loss, hits: a.hits + b.hits, overlap: a.overlap + b.overlap)
  }
}

/// Training-time test: the draft runs K steps on its own states, and each step is held against the target.
///
/// loss = Σ_k decay^k · Σ over trained rows of ℓ / N_k, ℓ being CE(q, softmax(logits)) or another `SoftTargetLoss`,
/// where N_k counts the trained rows of step k in the global batch. So the gradient does not depend on how the batch is
/// cut: short conversations are laid end to end and go through one pass, a long one is computed chunk by chunk
/// (`ChunkedConversation`).
public struct Objective {
  /// How much is recorded at a time.
  public struct Chunking: Sendable, Equatable {
    /// A trained row keeps 2.1 MB for its backward pass at Qwen3-4B's size and K 7: chunks of 512 rows need 1.4 GB with
    /// their temporary results, 1,024 rows 2.7 GB. On two cores with AVX512-BF16 chunks of 256, 512 and 1,024 rows are
    /// equally fast, to the noise of 5 %.
    public static let standard = Chunking(longestWhole: BatchPlan.microBatchTokens, rows: 512)

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
  let embedding: Tensor  // [V, H]
  let teacher: Teacher
  let steps: Int  // K
  let stepDecay: Double
  let loss: SoftTargetLoss
  let products: Products
  let chunking: Chunking
  let clock: PhaseClock
  /// Called whenever a chunk is done: a long conversation takes minutes.
  let tick: () -> Void

  public init(
    draft: DraftModel, embedding: Tensor, teacher: Teacher, steps: Int, stepDecay: Double,
    loss: SoftTargetLoss = .crossEntropy, products: Products, chunking: Chunking = .standard,
    clock: PhaseClock = PhaseClock(), tick: @escaping () -> Void = {}
  ) {
    self.draft = draft
    self.embedding = embedding
    self.teacher = teacher
    self.steps = steps
    self.stepDecay = stepDecay
    self.loss = loss
    self.products = products
    self.chunking = chunking
    self.clock = clock
    self.tick = tick
  }

  /// Conversations with what the target says about them: the part of the work that does not depend on the draft's
  /// weights.
  package struct Question {
    fileprivate let parts: [Part]
  }

  /// What is computed in one go.
  fileprivate enum Part {
    case whole(MicroBatch, Teacher.Answers)
    case chunked(ChunkedConversation, FirstChunk)
  }

  /// The answers to the first chunk of a conversation; those to another are computed right before it, so that those of
  /// one chunk exist at a time.
  fileprivate final class FirstChunk {
    private var answered: (MicroBatch, Teacher.Answers)?

    init(_ answered: (MicroBatch, Teacher.Answers)) { self.answered = answered }

    /// Gives them away; nil the next time.
    func take() -> (MicroBatch, Teacher.Answers)? {
      defer { answered = nil }
      return answered
    }
  }

  package func question(_ conversations: [CapturedConversation]) -> Question {
    var (short, parts) = ([CapturedConversation](), [Part]())
    for conversation in conversations {
      let trained = TrainedRows(mask: conversation.lossMask, steps: steps)
      guard trained.prefixCount > chunking.longestWhole else {
        short.append(conversation)
        continue
      }
      let chunked = ChunkedConversation(conversation, trained, rows: chunking.rows)
      parts.append(.chunked(chunked, FirstChunk(answered(chunked.batch(0)))))
    }
    let batch = MicroBatch(short, steps: steps)
    if !batch.nextTokens.isEmpty { parts.append(.whole(batch, answered(batch).1)) }
    return Question(parts: parts)
  }

  private func answered(_ batch: MicroBatch) -> (MicroBatch, Teacher.Answers) {
    (batch, clock.measure(.teacher) { teacher.answers(batch) })
  }

  /// Loss and metrics of conversations, and with `recording` their gradients, added to the draft's parameters.
  /// `globalRows` are N_k of the global batch, K of them.
  public func run(_ conversations: [CapturedConversation], globalRows: [Double], recording: Bool) -> [StepSums] {
    run(question(conversations), globalRows: globalRows, recording: recording)
  }

  func run(_ question: Question, globalRows: [Double], recording: Bool) -> [StepSums] {
    run(question, globalRows: globalRows, recording: recording) { _ in }
  }

  /// - Parameter isFinal: called with each of the draft's parameters, once, as soon as nothing is added to its gradient
  ///   any more; not at all when no row is trained
  package func run(
    _ question: Question, globalRows: [Double], recording: Bool, isFinal: (Variable) throws -> Void
  ) rethrows -> [StepSums] {
    var sums = [StepSums](repeating: StepSums(), count: steps)
    for (index, part) in question.parts.enumerated() {
      let told = index + 1 == question.parts.count ? draft.parameters.map(\.variable) : []
      let counted =
        switch part {
        case .whole(let batch, let answers):
          try run(batch, answers, keys: nil, globalRows, recording: recording, telling: told, isFinal: isFinal)
        case .chunked(let conversation, let first):
          try run(conversation, first, globalRows, recording: recording, telling: told, isFinal: isFinal)
        }
      sums = zip(sums, counted).map { $0 + $1 }
    }
    return sums
  }

  /// All steps of a micro-batch and their backward pass.
  ///
  /// - Parameters:
  ///   - keys: step-0 keys and values of the prefix, for a chunk; computed from the micro-batch when nil
  ///   - parameters: those that `isFinal` is told about
  private func run(
    _ batch: MicroBatch, _ answers: Teacher.Answers, keys: PrefixKeys?, _ globalRows: [Double], recording: Bool,
    telling parameters: [Variable], isFinal: (Variable) throws -> Void
  ) rethrows -> [StepSums] {
    var sums = [StepSums](repeating: StepSums(), count: steps)
    let tape = Tape(recording: recording, products: products)
    var pass = clock.measure(.draftForward) {
      ObjectivePass(draft: draft, embedding: embedding, batch: batch, tape: tape, keys: keys)
    }
    for k in 0..<steps where !batch.steps[k].rows.isEmpty {
      let hidden = clock.measure(.draftForward) { draft.normalized(tape, pass.step(k)) }
      let counted = clock.measure(.headAndLoss) {
        tape.softTargetLoss(
          hidden, draft.head, teacher.targets(answers, batch.steps[k]), loss, weight: Float(weight(k) / globalRows[k]))
      }
      sums[k] = StepSums(
        rows: Double(batch.steps[k].rows.count), loss: counted.loss, hits: counted.hits, overlap: counted.overlap)
    }
    try clock.measure(.backward) { try tape.backward(telling: parameters, isFinal: isFinal) }
    return sums
  }

  /// A long conversation: the prefix's keys, chunk after chunk, and the backward pass of the prefix.
  ///
  /// The keys' own weights, and what lies below them, get their last contribution from the prefix; the other parameters
  /// from the last chunk.
  private func run(
    _ conversation: ChunkedConversation, _ first: FirstChunk, _ globalRows: [Double], recording: Bool,
    telling parameters: [Variable], isFinal: (Variable) throws -> Void
  ) rethrows -> [StepSums] {
    var sums = [StepSums](repeating: StepSums(), count: steps)
    let prefix = conversation.prefix(of: draft, embedding, products)
    let keys = clock.measure(.draftForward) { prefix.keys(wantingGradients: recording) }
    let below = draft.keyParameters
    let above = parameters.filter { parameter in !below.contains { $0 === parameter } }
    for index in conversation.chunks.indices {
      let (batch, answers) = first.take() ?? answered(conversation.batch(index))
      let isLast = index + 1 == conversation.chunks.count
      let counted = try run(
        batch, answers, keys: keys, globalRows, recording: recording, telling: isLast ? above : [], isFinal: isFinal)
      sums = zip(sums, counted).map { $0 + $1 }
      tick()
    }
    guard recording else { return sums }
    try clock.measure(.backward) {
      try prefix.backward(keys, telling: parameters.isEmpty ? [] : below, isFinal: isFinal)
    }
    return sums
  }

  /// decay^k
  func weight(_ k: Int) -> Double { (0..<k).reduce(1.0) { value, _ in value * stepDecay } }
}
