import CEagleKernels

/// C[m, n] = A[m, k] B[k, n] (+ C) in float32 by our own kernels, on all threads.
///
/// k is cut into pieces. Of each, the columns of B are packed once for all threads, and then blocks of C are handed out as
/// threads become free, so that a thread that the system holds up delays nobody. The way in which C is cut does not show in
/// its bits: they are the same on any number of threads. B may be bfloat16: it is widened as it is packed, and a target of
/// bfloat16 weights never has a float32 copy.
struct Gemm {
  enum Weights {
    case float32(UnsafePointer<Float>)
    case bfloat16(UnsafePointer<UInt16>)
  }

  let m, n, k: Int
  let a: UnsafePointer<Float>
  /// Elements from one row and one column to the next; one of both is 1. The same for b.
  let aStrides: (row: Int, column: Int)
  let b: Weights
  let bStrides: (row: Int, column: Int)
  let c: UnsafeMutablePointer<Float>
  /// Elements from one row of C to the next.
  let ldc: Int
  let accumulate: Bool

  private static let panel = Int(EAGLE_GEMM_COLUMNS)
  private static let depth = Int(EAGLE_GEMM_DEPTH)
  /// Rows of A that a core's second-level cache holds: 96 · 320 floats are 123 kB. A multiple of the kernel's 6.
  private static let blockRows = 96
  /// Columns of B that are packed at a time: 3072 · 320 floats are 3.9 MB.
  private static let packedColumns = 3072

  func run() {
    guard m > 0, n > 0 else { return }
    // Equal pieces, whole eights.
    let pieces = max(1, (k + Self.depth - 1) / Self.depth)
    let piece = max(8, ((k + pieces - 1) / pieces + 7) / 8 * 8)
    let columns = min(Self.packedColumns, (n + Self.panel - 1) / Self.panel * Self.panel)
    let packed = Tensor([columns, piece])
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
    let panel = Self.panel
    let (row, column) = (Int64(bStrides.row), Int64(bStrides.column))
    Parallel.forEachRange((width + panel - 1) / panel, grain: 4) { range in
      for index in range {
        let count = Int64(min(panel, width - index * panel))
        let from = start * bStrides.row + (first + index * panel) * bStrides.column
        let to = packed + index * panel * depth
        switch b {
        case .float32(let b): eagle_gemm_pack_f32(b + from, row, column, Int64(depth), count, to)
        case .bfloat16(let b): eagle_gemm_pack_bf16(b + from, row, column, Int64(depth), count, to)
        }
      }
    }
  }

  private func multiply(
    column first: Int, _ width: Int, depth start: Int, _ depth: Int, _ packed: UnsafePointer<Float>
  ) {
    let panels = (width + Self.panel - 1) / Self.panel
    let rowBlocks = (m + Self.blockRows - 1) / Self.blockRows
    let chunk = Self.chunk(panels: panels, rowBlocks: rowBlocks)
    let columnBlocks = (panels + chunk - 1) / chunk
    Parallel.forEachRange(rowBlocks * columnBlocks, grain: 1, dynamic: true) { range in
      let block = Tensor([Self.blockRows, depth])
      for task in range {
        let (row, panel) = (task / columnBlocks * Self.blockRows, task % columnBlocks * chunk)
        let (rows, column) = (Int64(min(Self.blockRows, m - row)), panel * Self.panel)
        eagle_gemm_pack_rows(
          a + row * aStrides.row + start * aStrides.column, Int64(aStrides.row), Int64(aStrides.column), rows,
          Int64(depth), block.floats)
        eagle_gemm_block(
          block.floats, packed + column * depth, rows, Int64(min(chunk * Self.panel, width - column)), Int64(depth),
          c + row * ldc + first + column, Int64(ldc), accumulate || start > 0 ? 1 : 0)
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
