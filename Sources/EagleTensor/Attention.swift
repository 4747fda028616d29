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

/// "A causal prefix plus a chain of ancestors": the one attention of target, draft training and decoding.
public enum Attention {
  /// out[r] = softmax(scale · q[r] · keys) values, over the prefix rows and the chain rows of r.
  ///
  /// - Parameters:
  ///   - q: [R, heads · d]
  ///   - k, v: [N, kvHeads · d], the rows that prefixes point into
  ///   - rows: one entry for each row of q
  ///   - chain: (keys, values, row of each q row in them) for each chain step
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
      return AttentionBlocks(q: q, k: k, v: v, rows: rows, chain: chain, shape: shape).apply(logSums: logSums)
    }
    return rowByRow(q, k, v, rows: rows, chain: chain, shape: shape, logSums: logSums)
  }

  private static func rowByRow(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, rows: [AttentionRow], chain: [ChainStep], shape: AttentionShape,
    logSums: Tensor?
  ) -> Tensor {
    let out = Tensor(q.shape)
    let (d, group) = (shape.headDimension, shape.groupSize)
    Parallel.forEachRange(rows.count * shape.kvHeads, grain: max(1, min(64, rows.count / 8)), dynamic: true) { range in
      KeyCursor.with(k, v, rows: rows, chain: chain, shape: shape) { cursor in
        for task in range {
          let (row, kvHead) = (task / shape.kvHeads, task % shape.kvHeads)
          let at = row * shape.queryWidth + kvHead * group * d
          cursor.move(to: row)
          eagle_attention(
            q.floats + at, Int64(group), Int64(d), Int64(kvHead * d), &cursor.keys, shape.scale, cursor.scores,
            out.floats + at, logSums.map { $0.floats + row * shape.heads + kvHead * group })
        }
      }
    }
    return out
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
  private let k: Tensor
  private let v: Tensor
  private let rows: [AttentionRow]
  private let chain: [Attention.ChainStep]
  private let chainK: UnsafeMutablePointer<UnsafePointer<Float>?>
  private let chainV: UnsafeMutablePointer<UnsafePointer<Float>?>

  static func with(
    _ k: Tensor, _ v: Tensor, rows: [AttentionRow], chain: [Attention.ChainStep], shape: AttentionShape,
    _ body: (inout KeyCursor) -> Void
  ) {
    let longest = rows.reduce(0) { max($0, Int($1.prefixCount)) } + chain.count
    let scores = Tensor([max(1, longest)])
    withUnsafeTemporaryAllocation(of: UnsafePointer<Float>?.self, capacity: 2 * chain.count + 1) { pointers in
      var cursor = KeyCursor(
        scores: scores.floats, k: k, v: v, rows: rows, chain: chain, chainK: pointers.baseAddress!,
        chainV: pointers.baseAddress! + chain.count)
      cursor.keys.stride = Int64(shape.keyWidth)
      cursor.keys.chain_count = Int64(chain.count)
      body(&cursor)
    }
    withExtendedLifetime(scores) {}
  }

  private init(
    scores: UnsafeMutablePointer<Float>, k: Tensor, v: Tensor, rows: [AttentionRow], chain: [Attention.ChainStep],
    chainK: UnsafeMutablePointer<UnsafePointer<Float>?>, chainV: UnsafeMutablePointer<UnsafePointer<Float>?>
  ) {
    self.scores = scores
    self.k = k
    self.v = v
    self.rows = rows
    self.chain = chain
    self.chainK = chainK
    self.chainV = chainV
  }

  mutating func move(to row: Int) {
    let (first, width) = (Int(rows[row].prefixStart), Int(keys.stride))
    keys.prefix_k = UnsafePointer(k.floats + first * width)
    keys.prefix_v = UnsafePointer(v.floats + first * width)
    keys.prefix_count = Int64(rows[row].prefixCount)
    for (j, step) in chain.enumerated() {
      chainK[j] = UnsafePointer(step.k.floats + Int(step.row[row]) * width)
      chainV[j] = UnsafePointer(step.v.floats + Int(step.row[row]) * width)
    }
    keys.chain_k = UnsafePointer(chainK)
    keys.chain_v = UnsafePointer(chainV)
  }
}
