import CEagleKernels

/// The pieces of a product for one processor and one kind of numbers: how operands are packed, and who multiplies them.
/// Packed numbers lie in words of 32 bits.
protocol GemmKernel {
  /// Where the numbers of A and B are.
  associatedtype Left
  associatedtype Right
  /// Columns of B that lie side by side when packed.
  static var panel: Int { get }
  /// Largest piece of k.
  static var depth: Int { get }
  /// Rows of A that a task packs, a multiple of those that the kernel keeps in registers.
  static var blockRows: Int { get }
  /// Columns of B that are packed at a time.
  static var packedColumns: Int { get }
  /// Words of one packed row or column of k numbers.
  static func words(_ k: Int) -> Int
  /// Packs `count` columns of B, at most a panel, from element `offset` on.
  static func packColumns(
    _ b: Right, offset: Int, _ strides: GemmStrides, depth: Int, _ count: Int, into panel: UnsafeMutablePointer<Float>)
  /// Packs rows of A from element `offset` on.
  static func packRows(
    _ a: Left, offset: Int, _ strides: GemmStrides, _ rows: Int, depth: Int, into block: UnsafeMutablePointer<Float>)
  /// C = or += A B for packed rows and columns.
  static func multiply(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ rows: Int, _ columns: Int, depth: Int,
    into c: UnsafeMutablePointer<Float>, ldc: Int, accumulate: Bool)
}

/// Elements from one row and from one column to the next; one of both is 1.
typealias GemmStrides = (row: Int, column: Int)

/// C[m, n] = A[m, k] B[k, n] (+ C) by our own kernels, on all threads; C is float32.
///
/// k is cut into pieces. Of each, the columns of B are packed once for all threads, and then blocks of C are handed out as
/// threads become free, so that a thread that the system holds up delays nobody. The way in which C is cut does not show in
/// its bits: they are the same on any number of threads.
struct Gemm<Kernel: GemmKernel> {
  let m, n, k: Int
  let a: Kernel.Left
  let aStrides: GemmStrides
  let b: Kernel.Right
  let bStrides: GemmStrides
  let c: UnsafeMutablePointer<Float>
  /// Elements from one row of C to the next.
  let ldc: Int
  let accumulate: Bool

  func run() {
    guard m > 0, n > 0 else { return }
    // Equal pieces, whole thirty-twos.
    let pieces = max(1, (k + Kernel.depth - 1) / Kernel.depth)
    let piece = max(32, ((k + pieces - 1) / pieces + 31) / 32 * 32)
    let columns = min(Kernel.packedColumns, (n + Kernel.panel - 1) / Kernel.panel * Kernel.panel)
    let packed = Tensor([columns, Kernel.words(piece)])
    for first in stride(from: 0, to: n, by: columns) {
      for start in stride(from: 0, to: max(1, k), by: piece) {
        let (width, depth) = (min(columns, n - first), min(piece, k - start))
        pack(column: first, width, depth: start, depth, into: packed.floats)
        multiply(column: first, width, depth: start, depth, packed.floats)
      }
    }
  }

  private func pack(
    column first: Int, _ width: Int, depth start: Int, _ depth: Int, into packed: UnsafeMutablePointer<Float>
  ) {
    let (panel, words) = (Kernel.panel, Kernel.words(depth))
    Parallel.forEachRange((width + panel - 1) / panel, grain: 4) { range in
      for index in range {
        Kernel.packColumns(
          b, offset: start * bStrides.row + (first + index * panel) * bStrides.column, bStrides, depth: depth,
          min(panel, width - index * panel), into: packed + index * panel * words)
      }
    }
  }

  private func multiply(
    column first: Int, _ width: Int, depth start: Int, _ depth: Int, _ packed: UnsafePointer<Float>
  ) {
    let (panels, words) = ((width + Kernel.panel - 1) / Kernel.panel, Kernel.words(depth))
    let rowBlocks = (m + Kernel.blockRows - 1) / Kernel.blockRows
    let chunk = Self.chunk(panels: panels, rowBlocks: rowBlocks)
    let columnBlocks = (panels + chunk - 1) / chunk
    Parallel.forEachRange(rowBlocks * columnBlocks, grain: 1, dynamic: true) { range in
      // A line more than is packed: packing may write a little past the end.
      let block = Tensor([Kernel.blockRows * words + 16])
      for task in range {
        let (row, column) = (task / columnBlocks * Kernel.blockRows, task % columnBlocks * chunk * Kernel.panel)
        let rows = min(Kernel.blockRows, m - row)
        Kernel.packRows(
          a, offset: row * aStrides.row + start * aStrides.column, aStrides, rows, depth: depth, into: block.floats)
        Kernel.multiply(
          block.floats, packed + column * words, rows, min(chunk * Kernel.panel, width - column), depth: depth,
          into: c + row * ldc + first + column, ldc: ldc, accumulate: accumulate || start > 0)
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
