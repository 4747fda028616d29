import EagleAutograd
import EagleModels
import EagleTensor

// T tokens · B block size · K proposals of a block · A anchors · R = A B block rows · C counted rows · S teacher
// positions.

/// Positions of one conversation from which blocks are trained.
///
/// An anchor p is trained, and so is the token after it; p > 0, since a block without context has nothing to draft
/// from. The proposal in slot j, 0 ≤ j < K, is the token at p + 1 + j. It counts if that position exists and all tokens
/// from p + 1 to it are trained.
package struct BlockAnchors: Sendable, Equatable {
  /// Ascending.
  package let positions: [Int]
  /// The number of counted slots after each anchor, 1 to K.
  package let slots: [Int]

  /// All anchors of a loss mask.
  package init(mask: [UInt8], proposals: Int) {
    var (positions, slots) = ([Int](), [Int]())
    var run = 0  // trained tokens from p + 1 on
    for p in mask.indices.reversed() {
      if p > 0, mask[p] != 0, run > 0 {
        positions.append(p)
        slots.append(min(run, proposals))
      }
      run = mask[p] != 0 ? run + 1 : 0
    }
    (self.positions, self.slots) = (positions.reversed(), slots.reversed())
  }

  package init(positions: [Int], slots: [Int]) { (self.positions, self.slots) = (positions, slots) }

  /// A sample of the anchors, without replacement. It depends on the seed, the conversation and the epoch.
  ///
  /// - Parameters:
  ///   - share: of all, rounded up
  ///   - limit: the most that are taken
  package func sampled(share: Double, limit: Int, seed: UInt64, conversation: Int, epoch: Int) -> BlockAnchors {
    let count = sampledCount(share: share, limit: limit)
    guard count < positions.count else { return self }
    var random = RandomSource(seed: seed, purpose: "anchors of conversation \(conversation), epoch \(epoch)")
    let chosen = positions.indices.shuffled(using: &random).prefix(count).sorted()
    return self[chosen]
  }

  /// How many are sampled.
  package func sampledCount(share: Double, limit: Int) -> Int {
    min(limit, Int((share * Double(positions.count)).rounded(.up)))
  }

  /// Those with these indices.
  package subscript(indices: some Collection<Int>) -> BlockAnchors {
    BlockAnchors(positions: indices.map { positions[$0] }, slots: indices.map { slots[$0] })
  }

  /// The number of anchors for which each slot counts, K numbers.
  package func counts(proposals: Int) -> [Int] { (0..<proposals).map { slot in slots.count { $0 > slot } } }
}

/// Blocks of some conversations laid out for one pass.
struct BlockRows {
  /// Input tokens of the block rows, [R].
  var tokens: [Int32] = []
  /// Positions of the block rows, [R].
  var positions: [Int32] = []
  /// The context that each block row sees, as key rows.
  var attention: [AttentionRow] = []
  /// The block row of each counted proposal, [C], ascending; distinct.
  var counted: [Int32] = []
  /// The token before each counted proposal, [C].
  var previous: [Int32] = []
  /// The token that each of them should be, [C].
  var labels: [Int32] = []
  /// Their slots, [C].
  var slots: [Int] = []
  /// Their rows among the teacher positions, [C].
  var teacher: [Int32] = []

  /// Adds the blocks of one conversation.
  ///
  /// - Parameters:
  ///   - firstKey: the key row of its position 0
  ///   - teacherRow: the row among the teacher positions of position p
  mutating func add(
    _ anchors: BlockAnchors, ids: [Int32], shape: BlockShape, firstKey: Int, teacherRow: (Int) -> Int32
  ) {
    for (p, slots) in zip(anchors.positions, anchors.slots) {
      let first = Int32(tokens.count)
      tokens += [ids[p]] + [Int32](repeating: shape.maskToken, count: shape.blockSize - 1)
      positions += (0..<shape.blockSize).map { Int32(p + $0) }
      attention += [AttentionRow](
        repeating: AttentionRow(prefixStart: Int32(firstKey), prefixCount: Int32(p)), count: shape.blockSize)
      for slot in 0..<slots {
        counted.append(first + Int32(slot + shape.firstRow))
        previous.append(ids[p + slot])
        labels.append(ids[p + 1 + slot])
        self.slots.append(slot)
        teacher.append(teacherRow(p + slot))
      }
    }
  }

  /// For each position in a block, the block row at that position of each row's own block. Each list is a chain link.
  func blockRows(size: Int) -> [[Int32]] {
    (0..<size).map { place in tokens.indices.map { Int32($0 / size * size + place) } }
  }

  /// Positions whose teacher distributions these anchors need, ascending.
  static func teacherPositions(_ anchors: BlockAnchors) -> [Int] {
    var needed: [Int] = []
    for (p, slots) in zip(anchors.positions, anchors.slots) {
      needed += max(p, (needed.last ?? -1) + 1)..<max(p + slots, (needed.last ?? -1) + 1)
    }
    return needed
  }
}
