/// One sequence among the batch rows of a forward pass.
package struct Segment {
  /// The batch rows of its new tokens, in order of position; those of a tree with each parent before its children.
  package let rows: Range<Int>
  /// Earlier tokens of the sequence; the new ones are appended. Without a cache the sequence starts at position 0.
  package let cache: KVCache?
  /// The tree that the new tokens form where they branch.
  let tree: RowTree?

  package init(rows: Range<Int>, cache: KVCache? = nil) {
    self.rows = rows
    self.cache = cache
    tree = nil
  }

  /// Tokens that form a tree behind the cached ones.
  package init(rows: Range<Int>, cache: KVCache, tree: RowTree) {
    precondition(tree.count == rows.count, "a tree of \(tree.count) for \(rows.count) rows")
    self.rows = rows
    self.cache = cache
    self.tree = tree
  }

  var firstPosition: Int { cache?.count ?? 0 }

  /// The position of its i-th new token.
  func position(_ i: Int) -> Int { firstPosition + (tree.map { $0.depth[i] } ?? i) }

  /// How many keys its i-th new token sees where all are cached: first a prefix of consecutive entries, then single
  /// ones.
  func keys(_ i: Int) -> (prefix: Int, single: Int) {
    branches ? (firstPosition, tree!.paths[i].count) : (firstPosition + i + 1, 0)
  }

  /// Offsets of the single keys of its i-th new token from the first new entry.
  func path(_ i: Int) -> [Int] { branches ? tree!.paths[i] : [] }

  private var branches: Bool { tree.map { !$0.isChain } ?? false }
}

/// Tokens that branch. Siblings share a position, and a token sees its ancestors and itself.
package struct RowTree: Sendable, Equatable {
  /// The parent's row for each row, always an earlier one; -1 for the root, which is row 0.
  package let parents: [Int]
  /// Steps from the root.
  package let depth: [Int]
  /// Rows from the root to each row, itself included.
  package let paths: [[Int]]

  package init(parents: [Int]) {
    var paths: [[Int]] = []
    for (row, parent) in parents.enumerated() {
      precondition(parent < row && (parent >= 0) == (row > 0), "row \(row) of a tree hangs on row \(parent)")
      paths.append((parent < 0 ? [] : paths[parent]) + [row])
    }
    self.parents = parents
    self.paths = paths
    depth = paths.map { $0.count - 1 }
  }

  package var count: Int { parents.count }

  /// Whether no row has a sibling, so that the rows are a plain sequence.
  package var isChain: Bool { depth.last == count - 1 }
}
