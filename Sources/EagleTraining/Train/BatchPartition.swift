import EagleCore
import EagleDraft

// N ranks.

/// The partition of a batch's trained rows among ranks, by their cost.
///
/// Greedy assignment (longest processing time first): whole conversations in descending order of cost, each to the rank
/// with the least work so far. If this makes a step longer than necessary by more than `tolerance`, conversations are
/// concatenated and cut into a share for each rank. A binary search finds the smallest share with which the ranks cover
/// all rows, including the cost of context that is computed twice. All ranks compute the same partition.
package struct BatchPartition: Sendable {
  /// The work of a conversation of the batch.
  package struct Item: Sendable {
    let conversation: Int
    package var work: ConversationWork
    /// The number of tokens of the conversation.
    package let length: Int

    package init(_ conversation: Int, _ work: ConversationWork, length: Int) {
      (self.conversation, self.work, self.length) = (conversation, work, length)
    }
  }

  /// The rows of one item. A batch may contain a conversation twice; the copies are two items.
  private struct Assignment {
    let item: Int
    let rows: Range<Int>
    let cost: Double
  }

  /// The parts of each rank, in the order of the batch.
  package let parts: [[ConversationPart]]
  /// The operations of each rank.
  package let costs: [Double]

  /// The operations of the slowest rank, divided by the mean over ranks of the work without cuts: 1 is optimal.
  package let slowest: Double

  /// The relative increase of a step's duration that is accepted to avoid cutting conversations.
  private static let tolerance = 0.02

  /// - Parameters:
  ///   - items: the conversations of the batch; those without a trained row are assigned to no rank
  ///   - ranks: N
  ///   - depths: the number of tokens after a row's own that are predicted from it, K
  ///   - isCut: whether a conversation may be split between ranks
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

  /// Assigns whole items, each to the rank with the least work so far.
  private static func wholes(_ order: [Int], _ costs: [Double], ranks: Int, rows: [Int]) -> [[Assignment]] {
    var (assignments, loads) = ([[Assignment]](repeating: [], count: ranks), [Double](repeating: 0, count: ranks))
    for item in order {
      let lightest = loads.indices.min { (loads[$0], $0) < (loads[$1], $1) }!
      assignments[lightest].append(Assignment(item: item, rows: 0..<rows[item], cost: costs[item]))
      loads[lightest] += costs[item]
    }
    return assignments
  }

  /// The assignments with the smallest share, or those without cuts if they are nearly as good.
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

  /// Assigns items one after the other, with as many rows to each rank as fit into the share; nil if rows are left
  /// over.
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

  /// The maximum number of rows from `first` whose cost is at most `cost`.
  private static func mostRows(of work: ConversationWork, from first: Int, cost: Double) -> Int {
    (first..<work.rows).partitioningIndex { work.cost(first..<$0 + 1) > cost } - first
  }
}
