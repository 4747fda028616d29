import CEagleKernels

// R query rows · d head dimension · heads q heads, kvHeads of which share keys in groups.

/// What one query row attends to: a run of consecutive key rows and, in training, single rows of its own chain.
public struct AttentionRow {
  /// First key row and number of key rows of the causal prefix.
  public var prefixStart: Int32
  public var prefixCount: Int32

  public init(prefixStart: Int32, prefixCount: Int32) {
    self.prefixStart = prefixStart
    self.prefixCount = prefixCount
  }
}

/// Sizes of a grouped-query attention.
public struct AttentionShape: Sendable, Equatable, Codable {
  public let heads: Int
  public let kvHeads: Int
  public let headDimension: Int
  public var scale: Float { 1 / Float(headDimension).squareRoot() }
  public var groupSize: Int { heads / kvHeads }
  public var queryWidth: Int { heads * headDimension }
  public var keyWidth: Int { kvHeads * headDimension }

  public init(heads: Int, kvHeads: Int, headDimension: Int) {
    precondition(kvHeads > 0 && heads % kvHeads == 0, "\(heads) heads in groups of \(kvHeads)")
    self.heads = heads
    self.kvHeads = kvHeads
    self.headDimension = headDimension
  }
}

extension AttentionShape {
  /// Room for the scores of one row and a group of heads.
  fileprivate func scores(keys: Int) -> Tensor {
    Tensor([groupSize * Int(eagle_attention_scores(Int64(max(1, keys))))])
  }
}

/// "A causal prefix plus a chain of ancestors": the one attention of target, draft training and decoding.
public enum Attention {
  /// out[r] = softmax(scale · q[r] · keys) values, over the prefix rows and the chain rows of r.
  ///
  /// - Parameters:
  ///   - q: [R, heads · d]
  ///   - k: [N, kvHeads · d], the rows that prefixes point into
  ///   - v: as k
  ///   - rows: one entry for each row of q
  ///   - chain: (keys, values, row of each q row in them) for each chain step
  ///   - shape: heads and their width
  ///   - logSums: receives the log-sum-exp of each row and head, [R, heads]
  ///   - products: with `.invariant` each row is computed alone, so that its bits do not depend on the others; otherwise
  ///     blocks of rows meet the keys in matrix products
  public static func apply(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, rows: [AttentionRow], chain: [ChainStep] = [], shape: AttentionShape,
    logSums: Tensor? = nil, _ products: Products
  ) -> Tensor {
    precondition(
      q.shape == [rows.count, shape.queryWidth] && k.columns == shape.keyWidth && v.shape == k.shape,
      "attention of queries \(q.shape) for \(rows.count) rows, keys \(k.shape), values \(v.shape)")
    precondition(
      rows.allSatisfy { $0.prefixCount > 0 && Int($0.prefixStart + $0.prefixCount) <= k.rows },
      "a prefix is empty or ends past the \(k.rows) keys")
    guard products == .invariant else {
      return AttentionBlocks(q: q, k: k, v: v, rows: rows, chain: chain, shape: shape, products).apply(logSums: logSums)
    }
    return rowByRow(q, k, v, rows: rows, single: .chain(chain), shape: shape, logSums: logSums)
  }

  /// Attention of a tree of tokens that follow one sequence, row by row: row r sees the first `prefix` keys and then those
  /// of its ancestors and itself. Its bits are those of the row in a plain sequence, if the keys are.
  ///
  /// - Parameters:
  ///   - q: [R, heads · d]
  ///   - k: [N, kvHeads · d]
  ///   - v: as k
  ///   - prefix: keys that every row sees
  ///   - paths: for each row of q the keys that it sees behind the prefix, in order of position: 0 is the first one there
  ///   - shape: heads and their width
  public static func tree(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, prefix: Int, paths: [[Int]], shape: AttentionShape
  ) -> Tensor {
    precondition(
      q.shape == [paths.count, shape.queryWidth] && k.columns == shape.keyWidth && v.shape == k.shape
        && paths.allSatisfy { !$0.isEmpty && prefix + $0.last! < k.rows },
      "attention of a tree of \(paths.count) rows: queries \(q.shape), keys \(k.shape)")
    let row = AttentionRow(prefixStart: 0, prefixCount: Int32(prefix))
    return rowByRow(q, k, v, rows: paths.map { _ in row }, single: .paths(paths), shape: shape, logSums: nil)
  }

  /// Attention of single rows of many sequences, each with keys of its own: out[r] = softmax(scale · q[r] · keys of r) values.
  /// A row's bits are those that it has alone.
  ///
  /// - Parameters:
  ///   - q: [R, heads · d]
  ///   - keys: for each row of q its keys and values, [N, kvHeads · d], and how many of them it sees
  ///   - shape: heads and their width
  public static func separate(_ q: Tensor, keys: [(k: Tensor, v: Tensor, count: Int)], shape: AttentionShape) -> Tensor
  {
    precondition(
      q.shape == [keys.count, shape.queryWidth]
        && keys.allSatisfy { $0.k.columns == shape.keyWidth && $0.v.shape == $0.k.shape && (1...$0.k.rows) ~= $0.count },
      "attention of queries \(q.shape) for \(keys.count) sequences")
    let out = Tensor(q.shape)
    let (d, group) = (shape.headDimension, shape.groupSize)
    let longest = keys.reduce(1) { max($0, $1.count) }
    Parallel.forEachRange(keys.count, grain: 1, dynamic: true) { range in
      let scores = shape.scores(keys: longest)
      var place = eagle_attention_keys()
      place.stride = Int64(shape.keyWidth)
      for row in range {
        place.prefix_k = UnsafePointer(keys[row].k.floats)
        place.prefix_v = UnsafePointer(keys[row].v.floats)
        place.prefix_count = Int64(keys[row].count)
        for kvHead in 0..<shape.kvHeads {
          let at = row * shape.queryWidth + kvHead * group * d
          eagle_attention(
            q.floats + at, Int64(group), Int64(d), Int64(kvHead * d), &place, shape.scale, scores.floats,
            out.floats + at, nil)
        }
      }
    }
    return out
  }

  private static func rowByRow(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, rows: [AttentionRow], single: SingleKeys, shape: AttentionShape,
    logSums: Tensor?
  ) -> Tensor {
    let out = Tensor(q.shape)
    let (d, heads, group) = (shape.headDimension, shape.heads, shape.groupSize)
    // Heads, rows within a group of heads, groups: those that share keys are next to one another, and heads are small enough to
    // share out a single row.
    let count = rows.count * heads
    let grain = max(min(group, (count - 1) / Parallel.threadCount + 1), min(64, count / (8 * Parallel.threadCount)))
    Parallel.forEachRange(count, grain: grain, dynamic: true) { range in
      KeyCursor.with(k, v, rows: rows, single: single, shape: shape) { cursor in
        var task = range.lowerBound
        while task < range.upperBound {
          let (pair, member) = (task / group, task % group)
          let (kvHead, row) = (pair / rows.count, pair % rows.count)
          let taken = min(group - member, range.upperBound - task)
          let head = kvHead * group + member
          let at = row * shape.queryWidth + head * d
          cursor.move(to: row)
          eagle_attention(
            q.floats + at, Int64(taken), Int64(d), Int64(kvHead * d), &cursor.keys, shape.scale, cursor.scores,
            out.floats + at, logSums.map { $0.floats + row * heads + head })
          task += taken
        }
      }
    }
    return out
  }

  /// Key rows beyond the prefix.
  fileprivate enum SingleKeys {
    /// Each step gives one key to each row.
    case chain([ChainStep])
    /// Each row has its own list of keys, counted from the end of its prefix.
    case paths([[Int]])

    var longest: Int {
      switch self {
      case .chain(let steps): steps.count
      case .paths(let rows): rows.reduce(0) { max($0, $1.count) }
      }
    }
  }

  /// Keys and values that earlier draft steps made, and which row of them each query row owns.
  public struct ChainStep {
    public let k: Tensor  // [R_j, kvHeads · d]
    public let v: Tensor
    public let row: [Int32]  // [R]

    public init(k: Tensor, v: Tensor, row: [Int32]) {
      self.k = k
      self.v = v
      self.row = row
    }
  }
}

/// Points the kernel at the keys of one row after another; one for each thread.
private struct KeyCursor {
  var keys = eagle_attention_keys()
  let scores: UnsafeMutablePointer<Float>
  fileprivate let k: Tensor
  fileprivate let v: Tensor
  fileprivate let rows: [AttentionRow]
  fileprivate let single: Attention.SingleKeys
  fileprivate let singleK: UnsafeMutablePointer<UnsafePointer<Float>?>
  fileprivate let singleV: UnsafeMutablePointer<UnsafePointer<Float>?>

  static func with(
    _ k: Tensor, _ v: Tensor, rows: [AttentionRow], single: Attention.SingleKeys, shape: AttentionShape,
    _ body: (inout KeyCursor) -> Void
  ) {
    let longest = rows.reduce(0) { max($0, Int($1.prefixCount)) } + single.longest
    let scores = shape.scores(keys: longest)
    withUnsafeTemporaryAllocation(of: UnsafePointer<Float>?.self, capacity: 2 * single.longest + 1) { pointers in
      let (singleK, singleV) = (pointers.baseAddress!, pointers.baseAddress! + single.longest)
      var cursor = KeyCursor(
        scores: scores.floats, k: k, v: v, rows: rows, single: single, singleK: singleK, singleV: singleV)
      cursor.keys.stride = Int64(shape.keyWidth)
      cursor.keys.chain_k = UnsafePointer(singleK)
      cursor.keys.chain_v = UnsafePointer(singleV)
      body(&cursor)
    }
    withExtendedLifetime(scores) {}
  }

  mutating func move(to row: Int) {
    let (first, width) = (Int(rows[row].prefixStart), Int(keys.stride))
    keys.prefix_k = UnsafePointer(k.floats + first * width)
    keys.prefix_v = UnsafePointer(v.floats + first * width)
    keys.prefix_count = Int64(rows[row].prefixCount)
    switch single {
    case .chain(let steps):
      for (j, step) in steps.enumerated() { point(j, at: step.k, step.v, row: Int(step.row[row])) }
      keys.chain_count = Int64(steps.count)
    case .paths(let lists):
      let end = first + Int(rows[row].prefixCount)
      for (j, place) in lists[row].enumerated() { point(j, at: k, v, row: end + place) }
      keys.chain_count = Int64(lists[row].count)
    }
  }

  private func point(_ j: Int, at k: Tensor, _ v: Tensor, row: Int) {
    singleK[j] = UnsafePointer(k.floats + row * Int(keys.stride))
    singleV[j] = UnsafePointer(v.floats + row * Int(keys.stride))
  }
}
