import EagleAutograd
import EagleModels
import EagleTensor

// N prefix rows of all conversations, or the R_0 trained rows of a chunk · S teacher positions · R_k trained rows of
// depth k · K depths.

/// The window of rows, and the weighting of their losses.
struct RowLayout {
  /// The keys that a row sees; nil for all.
  var window: Int?
  var mean = LossMean.tokens

  /// The prefix keys of row p at depth k: those of rows up to p or, with a window of W, of the last W - k of them,
  /// since the query is at position p + k and the k keys after p are those of its own chain.
  func seen(row p: Int, depth k: Int, firstKey: Int) -> AttentionRow {
    let first = window.map { max(0, p + k - $0 + 1) } ?? 0
    return AttentionRow(prefixStart: Int32(firstKey + first), prefixCount: Int32(p + 1 - first))
  }
}

/// Concatenated conversations, or a chunk of one, with the rows of every depth.
struct MicroBatch {
  /// Captured states of the prefix rows, bfloat16 [N, n H_t].
  let auxHidden: Tensor
  /// Token x[p+1] of each prefix row, [N].
  let nextTokens: [Int32]
  /// Position of each prefix row in its conversation, [N].
  let positions: [Int32]
  /// The keys that each prefix row attends to at depth 0, [N].
  let attention: [AttentionRow]
  let teacher: TeacherRows
  let depths: [Depth]

  /// The rows of one depth.
  struct Depth {
    /// Row among the N prefix rows.
    var rows: [Int32] = []
    /// Row among the rows of the depth before; for depth 0, `rows` itself.
    var inPrevious: [Int32] = []
    /// Token x[p+1+k].
    var tokens: [Int32] = []
    /// Position p + k, for the rotary embedding.
    var positions: [Int32] = []
    /// Row of position p + 1 + k among the S teacher positions.
    var teacher: [Int32] = []
    /// The factor of the row's loss: 1 / (rows of its conversation) with a mean over conversations; empty for 1.
    var weights: [Float] = []
    var attention: [AttentionRow] = []
    /// The row among R_j for each earlier depth j = 1, 2, … and this one.
    var chain: [[Int32]] = []
  }

  init(
    _ conversations: [(conversation: CapturedConversation, trained: TrainedPart)], depths count: Int,
    _ layout: RowLayout = RowLayout()
  ) {
    var builder = Builder(depths: count, layout)
    for (conversation, trained) in conversations { builder.add(conversation, trained) }
    self.init(builder)
  }

  /// The trained rows of a chunk alone: their prefix is stored separately, as keys and values of the conversation's
  /// first rows.
  init(_ conversation: CapturedConversation, _ trained: TrainedRows, chunk: RowChunk, _ layout: RowLayout = RowLayout())
  {
    var builder = Builder(depths: trained.depths, layout)
    builder.add(conversation, trained, chunk)
    self.init(builder)
  }

  private init(_ builder: Builder) {
    (nextTokens, positions, attention) = (builder.nextTokens, builder.positions, builder.attention)
    depths = builder.depths
    auxHidden = Rows.stacked(builder.auxRows)
    teacher = builder.teacher
  }
}

/// Lays out one conversation after another.
private struct Builder {
  var auxRows: [(tensor: Tensor, rows: Range<Int>)] = []
  var nextTokens: [Int32] = []
  var positions: [Int32] = []
  var attention: [AttentionRow] = []
  var teacher = TeacherRows()
  var depths: [MicroBatch.Depth]
  private let layout: RowLayout

  init(depths count: Int, _ layout: RowLayout) {
    depths = [MicroBatch.Depth](repeating: MicroBatch.Depth(), count: count)
    self.layout = layout
  }

  mutating func add(_ conversation: CapturedConversation, _ trained: TrainedPart) {
    let (prefix, first) = (trained.prefixCount, nextTokens.count)
    guard prefix > 0 else { return }
    let rows = (0..<depths.count).map { trained.all.rows(depth: $0, in: trained.positions) }
    let needed = trained.all.teacherPositions(in: trained.positions)
    addSteps(conversation, trained.all, rows, firstKey: first, needed) { first + $0 }
    addRows(conversation, [0..<prefix], firstKey: first)
  }

  /// - Parameter trained: rows of the whole conversation
  mutating func add(_ conversation: CapturedConversation, _ trained: TrainedRows, _ chunk: RowChunk) {
    let rows = (0..<depths.count).map { trained.rows(depth: $0, in: chunk.rows) }
    var rowIndex = [Int](repeating: -1, count: chunk.rows.count)
    for (i, p) in rows[0].enumerated() { rowIndex[p - chunk.rows.lowerBound] = i }
    addSteps(conversation, trained, rows, firstKey: 0, trained.teacherPositions(in: chunk.rows)) {
      rowIndex[$0 - chunk.rows.lowerBound]
    }
    addRows(conversation, Rows.runs(rows[0]), firstKey: 0)
  }

  /// Lays out rows at these positions.
  private mutating func addRows(_ conversation: CapturedConversation, _ runs: [Range<Int>], firstKey: Int) {
    for run in runs {
      auxRows.append((conversation.auxHidden, run))
      nextTokens += conversation.ids[run.lowerBound + 1...run.upperBound]
      positions += run.map(Int32.init)
      attention += run.map { layout.seen(row: $0, depth: 0, firstKey: firstKey) }
    }
  }

  /// - Parameters:
  ///   - trained: rows of the whole conversation
  ///   - rows: those of each depth to add
  ///   - firstKey: where the prefix's keys begin
  ///   - needed: teacher positions
  ///   - rowIndex: row among the N of a trained position
  private mutating func addSteps(
    _ conversation: CapturedConversation, _ trained: TrainedRows, _ rows: [[Int]], firstKey: Int, _ needed: [Int],
    rowIndex: (Int) -> Int
  ) {
    let teacherRow = teacher.add(conversation, positions: needed)
    for k in depths.indices {
      let earlier = k == 0 ? [:] : previousRows(k, first: nextTokens.count)
      if layout.mean == .conversations {
        depths[k].weights += [Float](repeating: 1 / Float(max(1, trained.count(depth: k))), count: rows[k].count)
      }
      for p in rows[k] {
        let row = Int32(rowIndex(p))
        let own = depths[k].rows.count
        depths[k].rows.append(row)
        depths[k].inPrevious.append(k == 0 ? row : earlier[row]!)
        depths[k].tokens.append(conversation.ids[p + 1 + k])
        depths[k].positions.append(Int32(p + k))
        depths[k].teacher.append(teacherRow(p + 1 + k))
        depths[k].attention.append(layout.seen(row: p, depth: k, firstKey: firstKey))
        extendChain(k, ownRow: Int32(own))
      }
    }
  }

  /// Row number at depth k - 1 by prefix row, of the conversation that starts at `first`.
  private func previousRows(_ k: Int, first: Int) -> [Int32: Int32] {
    let rows = depths[k - 1].rows
    var result: [Int32: Int32] = [:]
    for i in rows.indices.reversed() {
      if rows[i] < Int32(first) { break }
      result[rows[i]] = Int32(i)
    }
    return result
  }

  /// The chain of a row at depth k: its chain at depth k - 1, then itself.
  private mutating func extendChain(_ k: Int, ownRow: Int32) {
    guard k > 0 else { return }
    if depths[k].chain.isEmpty { depths[k].chain = [[Int32]](repeating: [], count: k) }
    let before = Int(depths[k].inPrevious.last!)
    for j in 0..<k - 1 { depths[k].chain[j].append(depths[k - 1].chain[j][before]) }
    depths[k].chain[k - 1].append(ownRow)
  }
}

extension TeacherTargets {
  /// The targets of the loss at one depth.
  func targets(at depth: MicroBatch.Depth) -> SoftTargets {
    let hits = depth.teacher.map { hit[Int($0)] }
    return SoftTargets(
      probabilities: probabilities, coverage: coverage, row: depth.teacher, contributes: hits.map { $0 >= 0 },
      weights: depth.weights, hit: hits)
  }
}
