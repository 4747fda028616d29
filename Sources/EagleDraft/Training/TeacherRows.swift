import EagleModels
import EagleTensor

// S teacher positions · H hidden.

/// The target's last states at the positions whose distributions a micro-batch needs, one conversation after another.
package struct TeacherRows {
  package private(set) var count = 0  // S
  private var states: [(tensor: Tensor, rows: Range<Int>)] = []
  /// Full-vocabulary argmax, [S]; nil when a store has none.
  package private(set) var argmax: [Int32]? = []
  /// Full-vocabulary log-sum-exp, [S]; nil when a store has none.
  package private(set) var logSum: [Float]? = []

  /// bfloat16 [S, H].
  package var hidden: Tensor { Rows.stacked(states) }

  package init() {}

  /// Adds ascending positions of a conversation. Returns the row of each.
  mutating package func add(_ conversation: CapturedConversation, positions: [Int]) -> (Int) -> Int32 {
    let first = count
    count += positions.count
    for run in Rows.runs(positions) { states.append((conversation.lastHidden, run)) }
    argmax = conversation.teacherArgmax.flatMap { all in argmax.map { $0 + positions.map { all[$0] } } }
    logSum = conversation.teacherLogSum.flatMap { all in logSum.map { $0 + positions.map { all[$0] } } }
    let rows = Dictionary(uniqueKeysWithValues: positions.enumerated().map { ($1, Int32(first + $0)) })
    return { rows[$0]! }
  }
}

extension Rows {
  /// Stacks row ranges of bfloat16 matrices of one width.
  static func stacked(_ parts: [(tensor: Tensor, rows: Range<Int>)]) -> Tensor {
    let columns = parts.first?.tensor.columns ?? 0
    let result = Tensor([parts.reduce(0) { $0 + $1.rows.count }, columns], dtype: .bfloat16)
    var at = result.bfloats
    for part in parts {
      at.update(from: part.tensor.bfloats + part.rows.lowerBound * columns, count: part.rows.count * columns)
      at += part.rows.count * columns
    }
    return result
  }

  /// Ascending positions as ranges.
  static func runs(_ positions: [Int]) -> [Range<Int>] {
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
