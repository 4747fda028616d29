import EagleCore
import EagleDraft

// N ranks.

/// The partition of a batch's trained rows among ranks, by their cost.
///
/// Whole conversations, the most costly first, each to the rank with the least so far, unless that makes a step more
/// than `tolerance` longer than it need be. Then conversations are laid end to end and cut where a rank has its share:
/// the smallest with which the ranks hold them all, the context that is computed again included. All ranks find the
/// same partition.
package struct BatchPartition: Sendable {
  /// The work of a conversation of the batch.
  package struct Item: Sendable {
    let conversation: Int
    package var work: ConversationWork
    /// Tokens of the conversation.
    package let length: Int

    package init(_ conversation: Int, _ work: ConversationWork, length: Int) {
      (self.conversation, self.work, self.length) = (conversation, work, length)
    }
  }

  /// Rows of one item. A batch may hold a conversation twice: the copies are two items.
  private struct Assignment {
    let item: Int
    let rows: Range<Int>
    let cost: Double
  }

  /// The parts of each rank, in the order of the batch.
  package let parts: [[ConversationPart]]
  /// Operations of each rank.
  package let costs: [Double]

  /// Operations of the slowest rank over the mean of whole conversations: 1 is best.
  package let slowest: Double

  /// How much longer a step may be for whole conversations to stay whole.
  private static let tolerance = 0.02

  /// - Parameters:
  ///   - items: conversations of the batch; those without a trained row go to no rank
  ///   - ranks: N
  ///   - depths: tokens behind a row's own that are predicted from it, K
  ///   - isCut: whether a conversation may be shared by ranks
  package init(_ items: [Item], ranks: Int, depths: Int, isCut: Bool = true) {
    let whole = items.map { $0.work.cost(0..<$0.work.rows) }
    let mean = whole.reduce(0, +) / Double(ranks)
    let order = items.indices.filter { items[$0].work.rows > 0 }.sorted {
      (whole[$0], items[$0].conversation, $1) > (whole[$1], items[$1].conversation, $0)
    }
    var assignments = Self.wholes(order, whole, ranks: ranks, rows: items.map(\.work.rows))
    if isCut, ranks > 1 { assignments = Self.cutWherePays(order.map { ($0, items[$0].work) }, assignments, mean: mean) }
    costs = assignments.map(Self.load)
    slowest = mean > 0 ? costs.max()! / mean : 1
    parts = assignments.map { own in
      own.sorted { ($0.item, $0.rows.lowerBound) < ($1.item, $1.rows.lowerBound) }.map { assignment in
        let item = items[assignment.item]
        return item.work.part(item.conversation, assignment.rows, depths: depths, length: item.length)
      }
    }
  }

  private static func load(_ assignments: [Assignment]) -> Double { assignments.reduce(0) { $0 + $1.cost } }

  /// Whole items, each to the rank with the least so far.
  private static func wholes(_ order: [Int], _ costs: [Double], ranks: Int, rows: [Int]) -> [[Assignment]] {
    var (assignments, loads) = ([[Assignment]](repeating: [], count: ranks), [Double](repeating: 0, count: ranks))
    for item in order {
      let lightest = loads.indices.min { (loads[$0], $0) < (loads[$1], $1) }!
      assignments[lightest].append(Assignment(item: item, rows: 0..<rows[item], cost: costs[item]))
      loads[lightest] += costs[item]
    }
    return assignments
  }

  /// The assignments with the smallest share, or the whole ones where these are as good.
  private static func cutWherePays(
    _ order: [(item: Int, work: ConversationWork)], _ whole: [[Assignment]], mean: Double
  ) -> [[Assignment]] {
    var (low, high) = (mean, whole.map(load).max()!)
    var best = whole
    while high > (1 + tolerance / 4) * low {
      let middle = (low + high) / 2
      if let assignments = filled(order, ranks: whole.count, share: middle) {
        (best, high) = (assignments, middle)
      } else {
        low = middle
      }
    }
    return whole.map(load).max()! <= (1 + tolerance) * high ? whole : best
  }

  /// Items one after the other, each rank with as many rows as its share takes; nil when the ranks do not take all.
  private static func filled(
    _ order: [(item: Int, work: ConversationWork)], ranks: Int, share: Double
  ) -> [[Assignment]]? {
    var (assignments, load) = ([[Assignment]](repeating: [], count: ranks), 0.0)
    var rank = 0
    for (item, work) in order {
      var next = 0
      while next < work.rows {
        let count = mostRows(of: work, from: next, cost: share - load)
        if count == 0 {
          (rank, load) = (rank + 1, 0)
          if rank == ranks || assignments[rank - 1].isEmpty { return nil }
          continue
        }
        let rows = next..<next + count
        let cost = work.cost(rows)
        assignments[rank].append(Assignment(item: item, rows: rows, cost: cost))
        (load, next) = (load + cost, rows.upperBound)
      }
    }
    return assignments
  }

  /// The most rows from `first` on that cost no more than this.
  private static func mostRows(of work: ConversationWork, from first: Int, cost: Double) -> Int {
    (first..<work.rows).partitioningIndex { work.cost(first..<$0 + 1) > cost } - first
  }
}
