import EagleAutograd
import EagleModels
import EagleStorage
import EagleTensor

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
/// loss = Σ_k decay^k · Σ over trained rows of ℓ / N_k, ℓ being CE(q, softmax(logits)) or another `SoftTargetLoss`, where N_k counts the trained rows of step k
/// in the global batch. So the gradient does not depend on how the batch is cut.
public struct Objective {
  let draft: DraftModel
  let embedding: Tensor  // [V, H]
  let teacher: Teacher
  let steps: Int  // K
  let stepDecay: Double
  let loss: SoftTargetLoss
  let products: Products
  let clock: PhaseClock

  public init(
    draft: DraftModel, embedding: Tensor, teacher: Teacher, steps: Int, stepDecay: Double,
    loss: SoftTargetLoss = .crossEntropy, products: Products, clock: PhaseClock = PhaseClock()
  ) {
    self.draft = draft
    self.embedding = embedding
    self.teacher = teacher
    self.steps = steps
    self.stepDecay = stepDecay
    self.loss = loss
    self.products = products
    self.clock = clock
  }

  /// Conversations with what the target says about them: the part of the work that does not depend on the draft's weights.
  struct Question {
    fileprivate let batch: MicroBatch
    fileprivate let answers: Teacher.Answers?
  }

  func question(_ conversations: [CapturedConversation]) -> Question {
    let batch = MicroBatch(conversations, steps: steps)
    guard !batch.nextTokens.isEmpty else { return Question(batch: batch, answers: nil) }
    return Question(batch: batch, answers: clock.measure(.teacher) { teacher.answers(batch) })
  }

  /// Loss and metrics of conversations, and with `recording` their gradients, added to the draft's parameters. `globalRows` are N_k
  /// of the global batch, K of them.
  public func run(_ conversations: [CapturedConversation], globalRows: [Double], recording: Bool) -> [StepSums] {
    run(question(conversations), globalRows: globalRows, recording: recording)
  }

  func run(_ question: Question, globalRows: [Double], recording: Bool) -> [StepSums] {
    run(question, globalRows: globalRows, recording: recording) { _ in }
  }

  /// - Parameter isFinal: called with each of the draft's parameters as soon as nothing is added to its gradient any more
  func run(
    _ question: Question, globalRows: [Double], recording: Bool, isFinal: (Variable) throws -> Void
  ) rethrows -> [StepSums] {
    var sums = [StepSums](repeating: StepSums(), count: steps)
    let batch = question.batch
    guard let answers = question.answers else { return sums }
    let tape = Tape(recording: recording, products: products)
    var pass = clock.measure(.draftForward) {
      ObjectivePass(draft: draft, embedding: embedding, batch: batch, tape: tape)
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
    try clock.measure(.backward) {
      try tape.backward(telling: draft.parameters.map(\.variable), isFinal: isFinal)
    }
    return sums
  }

  /// decay^k
  func weight(_ k: Int) -> Double { (0..<k).reduce(1.0) { value, _ in value * stepDecay } }
}

/// The draft's K steps over one micro-batch.
private struct ObjectivePass {
  let draft: DraftModel
  let embedding: Tensor
  let batch: MicroBatch
  let tape: Tape
  private let prefix: (g: Variable, h: Variable, k: Variable, v: Variable)
  private var hidden: Variable
  private var chain: [(k: Variable, v: Variable)] = []

  init(draft: DraftModel, embedding: Tensor, batch: MicroBatch, tape: Tape) {
    self.draft = draft
    self.embedding = embedding
    self.batch = batch
    self.tape = tape
    let g = draft.project(tape, batch.auxHidden.float32())
    let h = draft.mix(tape, embedding: Rows.gather(embedding, batch.nextTokens), hidden: g)
    let keys = draft.keys(tape, h, draft.rotary.table(positions: batch.positions))
    prefix = (g, h, keys.k, keys.v)
    hidden = g
  }

  /// g_{k+1} of the trained rows of step k.
  mutating func step(_ k: Int) -> Variable {
    let rows = batch.steps[k]
    let table = draft.rotary.table(positions: rows.positions)
    let g = tape.gather(hidden, rows.inPrevious)
    let h: Variable
    if k == 0 {
      h = tape.gather(prefix.h, rows.rows)
    } else {
      h = draft.mix(tape, embedding: Rows.gather(embedding, rows.tokens), hidden: g)
      chain.append(draft.keys(tape, h, table))
    }
    let links = zip(chain, rows.chain).map { ChainLink(k: $0.k, v: $0.v, row: $1) }
    let attended = tape.attention(
      draft.queries(tape, h, table), prefix.k, prefix.v, rows: rows.attention, chain: links,
      shape: draft.shape.attention)
    hidden = draft.finish(tape, hidden: g, attended: attended)
    return hidden
  }
}
