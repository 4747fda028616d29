import EagleAutograd
import EagleStorage
import EagleTensor

// N prefix rows of all conversations · S teacher positions · R_k trained rows of step k · K steps.

/// Conversations laid end to end, with the rows of every step.
struct MicroBatch {
  /// Captured states of the prefix rows, bfloat16 [N, 3H].
  let auxHidden: Tensor
  /// Token x[p+1] of each prefix row, [N].
  let nextTokens: [Int32]
  /// Position of each prefix row in its conversation, [N].
  let positions: [Int32]
  /// States after the final norm at the teacher positions, bfloat16 [S, H].
  let teacherHidden: Tensor
  /// Full-vocabulary argmax at the teacher positions, [S]; nil when the store has none.
  let teacherArgmax: [Int32]?
  /// Full-vocabulary log-sum-exp at the teacher positions, [S]; nil when the store has none.
  let teacherLogSum: [Float]?
  let steps: [Step]

  /// The rows of one step.
  struct Step {
    /// Row among the N prefix rows.
    var rows: [Int32] = []
    /// Row among the rows of the step before; for step 0, `rows` itself.
    var inPrevious: [Int32] = []
    /// Token x[p+1+k].
    var tokens: [Int32] = []
    /// Position p + k, for the rotary embedding.
    var positions: [Int32] = []
    /// Row of position p + 1 + k among the S teacher positions.
    var teacher: [Int32] = []
    var attention: [AttentionRow] = []
    /// For each earlier step j = 1, 2, … and this one, the row among R_j.
    var chain: [[Int32]] = []
  }

  init(_ conversations: [CapturedConversation], steps count: Int) {
    var builder = Builder(steps: count)
    for conversation in conversations { builder.add(conversation) }
    (nextTokens, positions, steps) = (builder.nextTokens, builder.positions, builder.steps)
    auxHidden = Self.stack(builder.auxRows)
    teacherHidden = Self.stack(builder.teacherRows)
    teacherArgmax = builder.argmax
    teacherLogSum = builder.logSum
  }

  /// Copies row ranges of bfloat16 tensors into one.
  private static func stack(_ parts: [(tensor: Tensor, rows: Range<Int>)]) -> Tensor {
    let columns = parts.first?.tensor.columns ?? 0
    let result = Tensor([parts.reduce(0) { $0 + $1.rows.count }, columns], dtype: .bfloat16)
    var at = result.bfloats
    for part in parts {
      at.update(from: part.tensor.bfloats + part.rows.lowerBound * columns, count: part.rows.count * columns)
      at += part.rows.count * columns
    }
    return result
  }
}

/// Lays out one conversation after another.
private struct Builder {
  var auxRows: [(tensor: Tensor, rows: Range<Int>)] = []
  var teacherRows: [(tensor: Tensor, rows: Range<Int>)] = []
  var nextTokens: [Int32] = []
  var positions: [Int32] = []
  var argmax: [Int32]? = []
  var logSum: [Float]? = []
  var steps: [MicroBatch.Step]
  private var teacherCount = 0

  init(steps count: Int) { steps = [MicroBatch.Step](repeating: MicroBatch.Step(), count: count) }

  mutating func add(_ conversation: CapturedConversation) {
    let trained = TrainedRows(mask: conversation.lossMask, steps: steps.count)
    let prefix = trained.prefixCount
    guard prefix > 0 else { return }
    let first = nextTokens.count
    let teacherRow = addTeacher(conversation, trained.teacherPositions)
    for k in steps.indices { addStep(k, conversation.ids, trained.rows(step: k), first: first, teacherRow) }
    auxRows.append((conversation.auxHidden, 0..<prefix))
    nextTokens += conversation.ids[1...prefix]
    positions += (0..<prefix).map(Int32.init)
  }

  /// Returns the teacher row of each position, -1 where none is needed.
  private mutating func addTeacher(_ conversation: CapturedConversation, _ needed: [Int]) -> [Int32] {
    var row = [Int32](repeating: -1, count: conversation.ids.count)
    for position in needed {
      row[position] = Int32(teacherCount)
      teacherCount += 1
    }
    for run in Self.runs(needed) { teacherRows.append((conversation.lastHidden, run)) }
    argmax = conversation.teacherArgmax.flatMap { all in argmax.map { $0 + needed.map { all[$0] } } }
    logSum = conversation.teacherLogSum.flatMap { all in logSum.map { $0 + needed.map { all[$0] } } }
    return row
  }

  private mutating func addStep(_ k: Int, _ ids: [Int32], _ rows: [Int], first: Int, _ teacherRow: [Int32]) {
    let earlier = k == 0 ? [:] : previousRows(k, first: first)
    let start = steps[k].rows.count
    for (i, p) in rows.enumerated() {
      let row = Int32(first + p)
      steps[k].rows.append(row)
      steps[k].inPrevious.append(k == 0 ? row : earlier[row]!)
      steps[k].tokens.append(ids[p + 1 + k])
      steps[k].positions.append(Int32(p + k))
      steps[k].teacher.append(teacherRow[p + 1 + k])
      steps[k].attention.append(AttentionRow(prefixStart: Int32(first), prefixCount: Int32(p + 1)))
      extendChain(k, ownRow: Int32(start + i))
    }
  }

  /// Row number at step k - 1 by prefix row, of the conversation that starts at `first`.
  private func previousRows(_ k: Int, first: Int) -> [Int32: Int32] {
    let rows = steps[k - 1].rows
    var place: [Int32: Int32] = [:]
    for i in rows.indices.reversed() {
      if rows[i] < Int32(first) { break }
      place[rows[i]] = Int32(i)
    }
    return place
  }

  /// The chain of a row at step k: its chain at step k - 1, then itself.
  private mutating func extendChain(_ k: Int, ownRow: Int32) {
    guard k > 0 else { return }
    if steps[k].chain.isEmpty { steps[k].chain = [[Int32]](repeating: [], count: k) }
    let before = Int(steps[k].inPrevious.last!)
    for j in 0..<k - 1 { steps[k].chain[j].append(steps[k - 1].chain[j][before]) }
    steps[k].chain[k - 1].append(ownRow)
  }

  private static func runs(_ positions: [Int]) -> [Range<Int>] {
    var result: [Range<Int>] = []
    for position in positions {
      if let last = result.last, last.upperBound == position {
        result[result.count - 1] = last.lowerBound..<position + 1
      } else {
        result.append(position..<position + 1)
      }
    }
    return result
  }
}
