import CEagleKernels
import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor
import Foundation

// S teacher positions · D draft vocabulary · V target vocabulary · H hidden.

/// Distributions that the draft learns: softmax of the target's logits restricted to the draft vocabulary.
package final class Teacher {
  private let head: Tensor  // [V, H]
  private let draftHead: Tensor  // [D, H]: rows of the head
  private let vocabulary: DraftVocabulary
  private let precision: ComputePrecision
  /// The cap of the target's logits; nil for none.
  private let softcap: Float?

  package convenience init(target: TargetModel, vocabulary: DraftVocabulary, precision: ComputePrecision) {
    self.init(
      head: target.head, vocabulary: vocabulary, precision: precision, softcap: target.shape.logitsSoftcap)
  }

  /// A teacher with this LM head of the target, [V, H].
  package init(head: Tensor, vocabulary: DraftVocabulary, precision: ComputePrecision, softcap: Float? = nil) {
    self.head = head
    self.softcap = softcap
    self.vocabulary = vocabulary
    self.precision = precision
    draftHead = Rows.select(head, vocabulary.targetIDs)
  }

  /// The targets at some positions.
  package func targets(of rows: TeacherRows) -> TeacherTargets {
    let hidden = rows.hidden.operand(precision)
    let probabilities = Matmul.forward(hidden, draftHead, precision)
    if let softcap { Elementwise.softcap(probabilities, at: softcap) }
    let logSums = Self.softmaxRows(probabilities)
    var (argmax, full) = (rows.argmax, rows.logSum)
    if argmax == nil || full == nil {
      let computed = fullRows(hidden)
      argmax = argmax ?? computed.argmax
      full = full ?? computed.logSum
    }
    return TeacherTargets(
      probabilities: probabilities, coverage: zip(logSums, full!).map { min(1, Self.exponential($0 - $1)) },
      argmax: argmax!, hit: argmax!.map { vocabulary.draftIDs[Int($0)] })
  }

  /// Argmax and log-sum-exp over the full vocabulary, for stores that do not hold them.
  private func fullRows(_ hidden: Tensor) -> (argmax: [Int32], logSum: [Float]) {
    FullVocabulary.summarize(hidden, head: head, softcap: softcap, precision)
  }

  /// Softmax in place; returns the log-sum-exp of each row.
  static func softmaxRows(_ logits: Tensor) -> [Float] {
    let sums = Tensor([logits.rows])
    Parallel.forEachRange(logits.rows, grain: 1, dynamic: true) { range in
      for row in range {
        sums.floats[row] = eagle_softmax_row(logits.floats + row * logits.columns, Int64(logits.columns))
      }
    }
    return sums.values
  }

  private static func exponential(_ x: Float) -> Float { Float(exp(Double(x))) }
}

/// Teacher targets of some positions, each computed once for all rows that use it.
package struct TeacherTargets {
  package let probabilities: Tensor  // [S, D]
  package let coverage: [Float]  // [S]
  package let argmax: [Int32]  // [S], over the full vocabulary
  package let hit: [Int32]  // [S], the draft id of `argmax`; -1 for none
}

/// The two facts about a full-vocabulary distribution that training needs, without keeping [S, V] logits.
package enum FullVocabulary {
  /// - Parameter hidden: states after the final norm, [S, H]; float32, or bfloat16 where GEMMs take it
  package static func summarize(
    _ hidden: Tensor, head: Tensor, softcap: Float? = nil, _ precision: ComputePrecision
  ) -> (argmax: [Int32], logSum: [Float]) {
    let (rows, size) = (hidden.rows, head.rows)
    let hidden = Matmul.takesBFloat16(precision) ? hidden.bfloat16() : hidden
    var facts = [Fact](repeating: Fact(), count: rows)
    // Blocks of the vocabulary, so that a weight is read once for all rows.
    let block = max(1024, Self.blockElements / max(1, rows))
    for first in stride(from: 0, to: size, by: block) {
      let logits = Matmul.forward(hidden, head.slice(first..<min(size, first + block)), precision)
      if let softcap { Elementwise.softcap(logits, at: softcap) }
      facts.withUnsafeMutableBufferPointer { facts in
        let facts = facts
        Parallel.forEachRange(rows, grain: 4, dynamic: true) { range in
          for row in range { facts[row].add(logits.floats + row * logits.columns, logits.columns, first: first) }
        }
      }
    }
    return (facts.map(\.argmax), facts.map { $0.maximum + Float(log($0.sum)) })
  }

  /// Logits that are held at a time: 16 MB, which an L3 cache takes.
  private static let blockElements = 4 << 20

  /// The result for a row after some blocks.
  private struct Fact {
    var argmax: Int32 = 0
    var maximum = -Float.infinity
    /// Σ exp(logit − maximum).
    var sum = 0.0

    /// Overwrites the logits.
    mutating func add(_ logits: UnsafeMutablePointer<Float>, _ count: Int, first: Int) {
      let index = eagle_argmax(logits, Int64(count))
      var top: Float = 0
      let part = Double(eagle_exp_row(logits, Int64(count), &top))
      if top > maximum {
        (sum, maximum) = (sum * exp(Double(maximum - top)) + part, top)
        argmax = Int32(first) + Int32(index)
      } else {
        sum += part * exp(Double(top - maximum))
      }
    }
  }
}

extension Tensor {
  /// Captured states as GEMMs of this precision take them: as they are where those are bfloat16.
  func operand(_ precision: ComputePrecision) -> Tensor { Matmul.takesBFloat16(precision) ? self : float32() }
}
