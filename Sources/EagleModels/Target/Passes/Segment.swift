import EagleTensor

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

  /// Tokens that form a tree after the cached ones.
  package init(rows: Range<Int>, cache: KVCache, tree: RowTree) {
    precondition(tree.count == rows.count, "a tree of \(tree.count) for \(rows.count) rows")
    self.rows = rows
    self.cache = cache
    self.tree = tree
  }

  var firstPosition: Int { cache?.count ?? 0 }

  /// The position of its i-th new token.
  func position(_ i: Int) -> Int { firstPosition + (tree.map { $0.depth[i] } ?? i) }

  /// The keys that its i-th new token sees, as entries of the sequence: its earlier tokens and itself or, with a
  /// window, the last `window` of these.
  func seen(_ i: Int, window: Int?) -> SeenKeys {
    let lowest = window.map { max(0, position(i) - $0 + 1) } ?? 0
    guard let tree, branches else { return SeenKeys(prefix: lowest..<firstPosition + i + 1) }
    // The entry of depth j on the path has the position firstPosition + j.
    let path = tree.paths[i].dropFirst(max(0, lowest - firstPosition)).map { firstPosition + $0 }
    return SeenKeys(prefix: min(lowest, firstPosition)..<firstPosition, path: path)
  }

  /// Whether its new tokens are a tree and no plain sequence.
  var branches: Bool { tree.map { !$0.isChain } ?? false }
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
