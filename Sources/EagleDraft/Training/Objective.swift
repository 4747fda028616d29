import EagleAutograd
import EagleCore
import EagleModels
import EagleRunFiles

// K drafted positions.

/// Sums of one drafted position over rows; ranks add theirs before anything is divided.
package struct PositionSums: Codable, Sendable, Equatable {
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

  package var isFinite: Bool { loss.isFinite && overlap.isFinite }

  package static func + (a: PositionSums, b: PositionSums) -> PositionSums {
    PositionSums(rows: a.rows + b.rows, loss: a.loss + b.loss, hits: a.hits + b.hits, overlap: a.overlap + b.overlap)
  }
}

/// The objective that a head is trained with: losses of the tokens that it drafts one after the other, at K positions,
/// each compared with the target.
///
/// A position's loss is a sum over the rows of the global batch divided by their number N_k, or by another count of
/// these rows. So the gradient does not depend on how the batch is cut.
package protocol Objective {
  /// K.
  var positions: Int { get }
  /// What a conversation adds to N_k, K numbers.
  ///
  /// - Parameters:
  ///   - conversation: its number, which with the epoch and the seed selects the trained rows where not all are trained
  ///   - mask: its loss mask
  ///   - epoch: nil for all rows
  func rowCounts(conversation: Int, mask: [UInt8], epoch: Int?) -> [Int]
  /// Parts of conversations with their teacher targets: the part of the work that does not depend on the head's
  /// weights.
  ///
  /// - Parameters:
  ///   - parts: which of each conversation's trained rows; its number counts as in `rowCounts`
  ///   - conversations: the conversation of each part, captured with the layers that the head reads, with the states
  ///     that the part needs
  ///   - epoch: as in `rowCounts`
  func batch(_ parts: [ConversationPart], _ conversations: [CapturedConversation], epoch: Int?) -> any ObjectiveBatch
  /// The reported metrics, from the sums of all ranks.
  ///
  /// - Parameters:
  ///   - sums: of all ranks, by position
  ///   - leftOut: conversations that are not in the sums
  func metrics(_ sums: [PositionSums], leftOut: Int?) -> ObjectiveMetrics
}

/// Conversations laid out for one objective.
package protocol ObjectiveBatch {
  /// Losses and metrics, and with `recording` their gradients, added to the head's parameters.
  ///
  /// - Parameters:
  ///   - globalRows: N_k of the global batch, K numbers
  ///   - recording: whether gradients are wanted
  ///   - isFinal: called with each of the head's parameters, once, as soon as nothing is added to its gradient any
  ///     more; not at all when no row is trained
  /// - Returns: the sums of each position
  func run(globalRows: [Double], recording: Bool, isFinal: (Variable) throws -> Void) rethrows -> [PositionSums]
}

extension ObjectiveBatch {
  package func run(globalRows: [Double], recording: Bool) -> [PositionSums] {
    run(globalRows: globalRows, recording: recording) { _ in }
  }
}

extension Objective {
  package var noSums: [PositionSums] { [PositionSums](repeating: PositionSums(), count: positions) }

  /// All rows of these conversations at once.
  package func run(_ conversations: [CapturedConversation], globalRows: [Double], recording: Bool) -> [PositionSums] {
    batch(conversations, epoch: nil).run(globalRows: globalRows, recording: recording)
  }

  /// All rows that an epoch trains of these conversations, which are numbered from 0.
  package func batch(_ conversations: [CapturedConversation], epoch: Int?) -> any ObjectiveBatch {
    batch(conversations.indices.map { .whole($0) }, conversations, epoch: epoch)
  }
}

/// The memory and the operations of one optimiser step, in addition to those of weights, gradients and moments.
package protocol ObjectiveCosts {
  /// Drafted positions, as the objective has them.
  var positions: Int { get }
  /// The largest of these micro-batches of loss masks.
  func largest(_ microBatches: [[[UInt8]]]) -> ObjectiveBytes
  /// The floating-point operations of the objective's matmuls and attention.
  func operations(masks: [[UInt8]]) -> Double
  /// The trained rows of a conversation, and the operations of each part of it.
  ///
  /// - Parameters:
  ///   - mask: its loss mask
  ///   - samples: whether to count only the rows that an epoch trains, where it trains a sample
  func work(mask: [UInt8], samples: Bool) -> ConversationWork
}

/// Memory of one micro-batch.
package struct ObjectiveBytes: Sendable, Equatable {
  /// Bytes of recorded rows and temporary results: bounded by the size of a micro-batch or chunk.
  package var activations = 0.0
  /// States that were read, and a chunked conversation's keys and values with their gradients: grows with its length.
  package var conversations = 0.0

  package init(activations: Double = 0, conversations: Double = 0) {
    (self.activations, self.conversations) = (activations, conversations)
  }

  package var total: Double { activations + conversations }
}
