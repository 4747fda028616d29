import EagleAutograd
import EagleCore
import EagleModels
import EagleRunFiles
import EagleTensor
import Foundation

// N context rows · R block rows · C counted proposals · K proposals of a block · L layers · kv key heads · d head
// dimension.

/// The objective of block drafters. With d a proposal's distribution, t the target's over the draft vocabulary, α the
/// probability Σ min(p, d) that it is accepted, p over the whole vocabulary, and w_j = exp(-j / 4) for the proposal in
/// slot j:
///
/// loss = Σ w (λ CE(label, d) + δ Σ |d − t| + BCE(confidence, α)) / Σ w
///
/// over all counted proposals of the global batch; DSpark has λ 0.1 and δ 0.9, DFlash 1 and 0, and no confidence. The
/// label is the conversation's own token; one outside the draft vocabulary has no CE. As in EAGLE-3, only BCE counts
/// where the target's most likely token is outside it.
///
/// Context is computed once for all blocks of a conversation. A long conversation is computed in chunks of its anchors,
/// as in EAGLE-3.
package struct BlockObjective: Objective {
  let network: BlockNetwork
  /// All trained tensors of the head.
  let parameters: [Variable]
  let vocabulary: DraftVocabulary
  let tables: TargetTables
  let teacher: Teacher
  let settings: ObjectiveSettings
  let clock: PhaseClock
  let tick: () -> Void

  /// γ of the weights of slots.
  static let gamma = 4.0

  package init(
    network: BlockNetwork, parameters: [Variable], vocabulary: DraftVocabulary, tables: TargetTables, teacher: Teacher,
    settings: ObjectiveSettings, clock: PhaseClock, tick: @escaping () -> Void
  ) {
    (self.network, self.parameters, self.vocabulary) = (network, parameters, vocabulary)
    (self.tables, self.teacher, self.settings) = (tables.widened, teacher, settings)
    (self.clock, self.tick) = (clock, tick)
  }

  var shape: BlockShape { network.shape }
  package var positions: Int { shape.proposals }

  func anchors(conversation: Int, mask: [UInt8], epoch: Int?) -> BlockAnchors {
    let all = BlockAnchors(mask: mask, proposals: positions)
    guard let epoch else {
      return all.sampled(
        share: 1, limit: settings.anchorLimit, seed: settings.seed, conversation: conversation, epoch: -1)
    }
    return all.sampled(
      share: settings.anchorShare, limit: settings.anchorLimit, seed: settings.seed, conversation: conversation,
      epoch: epoch)
  }

  package func rowCounts(conversation: Int, mask: [UInt8], epoch: Int?) -> [Int] {
    anchors(conversation: conversation, mask: mask, epoch: epoch).counts(proposals: positions)
  }

  /// w_j
  func weight(_ slot: Int) -> Double { exp(-Double(slot) / Self.gamma) }

  package func metrics(_ sums: [PositionSums], leftOut: Int?) -> ObjectiveMetrics {
    func mean(_ value: (PositionSums) -> Double) -> [Double] { sums.map { $0.rows == 0 ? 0 : value($0) / $0.rows } }
    let (loss, rows) = sums.enumerated().reduce((0.0, 0.0)) { all, slot in
      let weight = weight(slot.offset)
      return (all.0 + weight * slot.element.loss, all.1 + weight * slot.element.rows)
    }
    return ObjectiveMetrics(
      loss: rows == 0 ? 0 : loss / rows, lossByPosition: mean(\.loss), accuracy: mean(\.hits),
      acceptance: mean(\.overlap), leftOut: leftOut)
  }

  package func batch(
    _ parts: [ConversationPart], _ conversations: [CapturedConversation], epoch: Int?
  ) -> any ObjectiveBatch {
    batch(
      conversations,
      zip(parts, conversations).map { part, conversation in
        let all = anchors(conversation: part.conversation, mask: conversation.lossMask, epoch: epoch)
        return part.rows.map { all[$0] } ?? all
      })
  }

  /// Lays conversations out with these anchors, and divides those that are too long for one pass into chunks.
  package func batch(_ conversations: [CapturedConversation], _ anchors: [BlockAnchors]) -> any ObjectiveBatch {
    var parts: [BlockBatch.Part] = []
    var (short, rows) = ([(CapturedConversation, BlockAnchors)](), 0)
    func flush() {
      if !short.isEmpty { parts.append(.whole(whole(short))) }
      (short, rows) = ([], 0)
    }
    for (conversation, anchors) in zip(conversations, anchors) {
      guard let last = anchors.positions.last else { continue }
      let own = anchors.positions.count * shape.blockSize
      if last > settings.chunking.longestWhole || own > rowLimit {
        parts.append(.chunked(chunks(conversation, anchors)))
        continue
      }
      if rows + own > rowLimit { flush() }
      short.append((conversation, anchors))
      rows += own
    }
    flush()
    return BlockBatch(objective: self, parts: parts)
  }

  /// The most block rows of a pass: with L layers, 8 / L times the rows of a chunk of EAGLE-3, for similar activations.
  private var rowLimit: Int { Self.rowLimit(shape, settings) }

  static func rowLimit(_ shape: BlockShape, _ settings: ObjectiveSettings) -> Int {
    max(shape.blockSize, settings.chunking.rows * 8 / max(2, shape.layers))
  }

  private func whole(_ conversations: [(CapturedConversation, BlockAnchors)]) -> BlockBatch.Whole {
    var (rows, context, states) = (BlockRows(), BlockContext(), TeacherRows())
    for (conversation, anchors) in conversations {
      let firstKey = context.count
      context.add(conversation, rows: anchors.positions.last!)
      let row = states.add(conversation, positions: BlockRows.teacherPositions(anchors))
      rows.add(anchors, ids: conversation.ids, shape: shape, firstKey: firstKey, teacherRow: row)
    }
    return BlockBatch.Whole(context: context, rows: rows, targets: targets(states))
  }

  private func chunks(_ conversation: CapturedConversation, _ anchors: BlockAnchors) -> BlockBatch.Chunked {
    let size = max(1, rowLimit / shape.blockSize)
    let count = (anchors.positions.count + size - 1) / size
    var context = BlockContext()
    context.add(conversation, rows: anchors.positions.last!)
    let parts = (0..<count).map { i in
      anchors[anchors.positions.count * i / count..<anchors.positions.count * (i + 1) / count]
    }
    let chunked = BlockBatch.Chunked(conversation: conversation, context: context, chunks: parts)
    chunked.first = laidOut(chunked, 0)
    return chunked
  }

  /// The rows of one chunk and their teacher targets.
  func laidOut(_ chunked: BlockBatch.Chunked, _ index: Int) -> (BlockRows, TeacherTargets) {
    var (rows, states) = (BlockRows(), TeacherRows())
    let anchors = chunked.chunks[index]
    let row = states.add(chunked.conversation, positions: BlockRows.teacherPositions(anchors))
    rows.add(anchors, ids: chunked.conversation.ids, shape: shape, firstKey: 0, teacherRow: row)
    return (rows, targets(states))
  }

  private func targets(_ states: TeacherRows) -> TeacherTargets {
    clock.measure(.teacher) { teacher.targets(of: states) }
  }
}
