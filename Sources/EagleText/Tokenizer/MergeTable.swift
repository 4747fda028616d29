/// What two neighbouring tokens become, and when: merges with lower ranks go first.
struct MergeTable: Sendable {
  struct Merge: Sendable {
    let rank: Int32
    let result: Int32
  }

  private struct Slot: Sendable {
    var pair = Slot.empty  // left id in the high half, right id in the low half
    var merge = Merge(rank: .max, result: -1)

    static let empty = UInt64.max
  }

  private var slots: [Slot]  // a power of two of them, at most half in use
  private let shift: UInt64

  /// An empty table for up to `capacity` merges.
  init(capacity: Int) {
    var bits: UInt64 = 5
    while (1 << bits) < capacity * 2 + 2 { bits += 1 }
    shift = 64 - bits
    slots = [Slot](repeating: Slot(), count: 1 << bits)
  }

  /// The merge of `left` with `right`, nil when they stay apart.
  func merge(of left: Int32, _ right: Int32) -> Merge? {
    let pair = MergeTable.pair(left, right)
    let slot = slots[index(of: pair)]
    return slot.pair == pair ? slot.merge : nil
  }

  /// Adds a merge; of two merges of the same pair the later one counts.
  mutating func insert(left: Int32, right: Int32, merge: Merge) {
    let pair = MergeTable.pair(left, right)
    slots[index(of: pair)] = Slot(pair: pair, merge: merge)
  }

  /// The slot that holds `pair`, or the empty one where it belongs.
  private func index(of pair: UInt64) -> Int {
    let mask = slots.count - 1
    var index = Int(truncatingIfNeeded: (pair &* 0x9E37_79B9_7F4A_7C15) >> shift)
    while slots[index].pair != pair, slots[index].pair != Slot.empty { index = (index + 1) & mask }
    return index
  }

  private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }
}
