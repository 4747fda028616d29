import CEagleKernels

/// The steps of a GEMM for one processor and one kind of elements: how operands are packed, and what multiplies them.
/// Packed elements are stored in words of 32 bits.
protocol GemmKernel {
  /// The addresses of the elements of A and B.
  associatedtype Left
  associatedtype Right
  /// Columns of B that are stored together when packed.
  static var panel: Int { get }
  /// The largest block of k.
  static var depth: Int { get }
  /// Rows of A that a task packs, a multiple of those that the kernel keeps in registers.
  static var blockRows: Int { get }
  /// Columns of B that are packed at a time.
  static var packedColumns: Int { get }
  /// Words of one packed row or column of k elements.
  static func words(_ k: Int) -> Int
  /// Packs some columns of B, at most a panel, and some of its rows.
  static func packColumns(of b: MatrixView<Right>, _ block: GemmBlock, into panel: UnsafeMutablePointer<Float>)
  /// Packs some rows of A, and some of its columns.
  static func packRows(of a: MatrixView<Left>, _ block: GemmBlock, into packed: UnsafeMutablePointer<Float>)
  /// C = or += A B for packed rows and columns.
  static func multiply(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ block: eagle_gemm_block)
}

/// A block of an operand: rows of A or columns of B, and values of k.
struct GemmBlock {
  let lines: Range<Int>
  let depth: Range<Int>
}

/// C[m, n] = A[m, k] B[k, n] (+ C) by our own kernels, on all threads; C is float32.
///
/// k is divided into blocks. For each, the columns of B are packed once for all threads, and then blocks of C are tasks
/// that threads take as they become free, so that a thread that the system delays holds up no other. The division of C
/// does not change its bits: they are the same on any number of threads.
struct Gemm<Kernel: GemmKernel> {
  let a: MatrixView<Kernel.Left>
  let b: MatrixView<Kernel.Right>
  let c: MutableFloatMatrix
  let accumulate: Bool

  func run() {
    let (m, n, k) = (c.rows, c.columns, a.columns)
    guard m > 0, n > 0 else { return }
    // Blocks of equal depth, a multiple of 32.
    let count = max(1, (k + Kernel.depth - 1) / Kernel.depth)
    let depth = max(32, ((k + count - 1) / count + 31) / 32 * 32)
    let columns = min(Kernel.packedColumns, (n + Kernel.panel - 1) / Kernel.panel * Kernel.panel)
    let packed = Tensor([columns, Kernel.words(depth)])
    for first in stride(from: 0, to: n, by: columns) {
      for start in stride(from: 0, to: max(1, k), by: depth) {
        let block = GemmBlock(lines: first..<min(n, first + columns), depth: start..<min(k, start + depth))
        pack(block, into: packed.floats)
        multiply(block, packed.floats)
      }
    }
  }

  private func pack(_ block: GemmBlock, into packed: UnsafeMutablePointer<Float>) {
    let (panel, words) = (Kernel.panel, Kernel.words(block.depth.count))
    Parallel.forEachRange((block.lines.count + panel - 1) / panel, grain: 4) { range in
      for index in range {
        let first = block.lines.lowerBound + index * panel
        let columns = first..<min(block.lines.upperBound, first + panel)
        Kernel.packColumns(
          of: b, GemmBlock(lines: columns, depth: block.depth), into: packed + index * panel * words)
      }
    }
  }

  /// Multiplies all rows of A with the packed columns of B.
  private func multiply(_ block: GemmBlock, _ packed: UnsafePointer<Float>) {
    let (width, words) = (block.lines.count, Kernel.words(block.depth.count))
    let panels = (width + Kernel.panel - 1) / Kernel.panel
    let rowBlocks = (c.rows + Kernel.blockRows - 1) / Kernel.blockRows
    let chunk = Self.chunk(panels: panels, rowBlocks: rowBlocks)
    let columnBlocks = (panels + chunk - 1) / chunk
    Parallel.forEachRange(rowBlocks * columnBlocks, grain: 1, dynamic: true) { range in
      // A line more than is packed: packing may write a little past the end.
      let rows = Tensor([Kernel.blockRows * words + 16])
      for task in range {
        let (row, column) = (task / columnBlocks * Kernel.blockRows, task % columnBlocks * chunk * Kernel.panel)
        let lines = row..<min(c.rows, row + Kernel.blockRows)
        Kernel.packRows(of: a, GemmBlock(lines: lines, depth: block.depth), into: rows.floats)
        Kernel.multiply(
          rows.floats, packed + column * words,
          eagle_gemm_block(
            m: Int64(lines.count), n: Int64(min(chunk * Kernel.panel, width - column)), k: Int64(block.depth.count),
            c: c.base + row * c.stride + block.lines.lowerBound + column, ldc: Int64(c.stride),
            accumulate: accumulate || block.depth.lowerBound > 0 ? 1 : 0))
      }
    }
  }

  /// Panels of one task: all of them, or fewer when there are not enough blocks of rows to keep the threads busy.
  private static func chunk(panels: Int, rowBlocks: Int) -> Int {
    let threads = Parallel.threadCount
    guard threads > 1 else { return panels }
    var chunk = panels
    while rowBlocks * ((panels + chunk - 1) / chunk) < 6 * threads, chunk > 8 { chunk = (chunk + 1) / 2 }
    return chunk
  }
}
