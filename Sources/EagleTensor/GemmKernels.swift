import CEagleKernels

/// float32 products, written for AVX2. B may be bfloat16: it is widened as it is packed, and a target of bfloat16 weights never
/// has a float32 copy.
enum Float32Kernel: GemmKernel {
  enum Right {
    case float32(UnsafePointer<Float>)
    case bfloat16(UnsafePointer<UInt16>)
  }

  static let panel = Int(EAGLE_GEMM_COLUMNS)
  static let depth = Int(EAGLE_GEMM_DEPTH)
  /// What a core's second-level cache holds: 96 · 320 floats are 123 kB.
  static let blockRows = 96
  /// 3072 · 320 floats are 3.9 MB.
  static let packedColumns = 3072

  static func words(_ k: Int) -> Int { k }

  static func packColumns(
    _ b: Right, offset: Int, _ strides: GemmStrides, depth: Int, _ count: Int, into panel: UnsafeMutablePointer<Float>
  ) {
    let (row, column) = (Int64(strides.row), Int64(strides.column))
    switch b {
    case .float32(let b): eagle_gemm_pack_f32(b + offset, row, column, Int64(depth), Int64(count), panel)
    case .bfloat16(let b): eagle_gemm_pack_bf16(b + offset, row, column, Int64(depth), Int64(count), panel)
    }
  }

  static func packRows(
    _ a: UnsafePointer<Float>, offset: Int, _ strides: GemmStrides, _ rows: Int, depth: Int,
    into block: UnsafeMutablePointer<Float>
  ) {
    eagle_gemm_pack_rows(a + offset, Int64(strides.row), Int64(strides.column), Int64(rows), Int64(depth), block)
  }

  static func multiply(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ rows: Int, _ columns: Int, depth: Int,
    into c: UnsafeMutablePointer<Float>, ldc: Int, accumulate: Bool
  ) {
    eagle_gemm_block(a, b, Int64(rows), Int64(columns), Int64(depth), c, Int64(ldc), accumulate ? 1 : 0)
  }
}

/// bfloat16 products, for AVX512-BF16, of numbers that are bfloat16 or are rounded to it as they are packed. A word holds two
/// that follow each other in k.
protocol BFloat16Packing: GemmKernel where Left == UnsafePointer<Number>, Right == UnsafePointer<Number> {
  associatedtype Number
  static var packColumns: (UnsafePointer<Number>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void {
    get
  }
  static var packRows: (UnsafePointer<Number>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void { get }
}

enum BFloat16Kernel: BFloat16Packing {
  static var packColumns: (UnsafePointer<UInt16>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void {
    { eagle_gemm_bf16_pack_columns($0, $1, $2, $3, $4, $5) }
  }
  static var packRows: (UnsafePointer<UInt16>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void {
    { eagle_gemm_bf16_pack_rows($0, $1, $2, $3, $4, $5) }
  }
}

enum RoundingKernel: BFloat16Packing {
  static var packColumns: (UnsafePointer<Float>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void {
    { eagle_gemm_bf16_pack_columns_f32($0, $1, $2, $3, $4, $5) }
  }
  static var packRows: (UnsafePointer<Float>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void {
    { eagle_gemm_bf16_pack_rows_f32($0, $1, $2, $3, $4, $5) }
  }
}

extension BFloat16Packing {
  static var panel: Int { Int(EAGLE_GEMM_BF16_COLUMNS) }
  static var depth: Int { Int(EAGLE_GEMM_BF16_DEPTH) }
  static var blockRows: Int { 16 * Int(EAGLE_GEMM_BF16_ROWS) }
  /// 1024 · 576 numbers are 1.2 MB.
  static var packedColumns: Int { 1024 }

  static func words(_ k: Int) -> Int { (k + 1) / 2 }

  static func packColumns(
    _ b: Right, offset: Int, _ strides: GemmStrides, depth: Int, _ count: Int, into panel: UnsafeMutablePointer<Float>
  ) {
    packColumns(b + offset, Int64(strides.row), Int64(strides.column), Int64(depth), Int64(count), words(panel))
  }

  static func packRows(
    _ a: Left, offset: Int, _ strides: GemmStrides, _ rows: Int, depth: Int, into block: UnsafeMutablePointer<Float>
  ) {
    packRows(a + offset, Int64(strides.row), Int64(strides.column), Int64(rows), Int64(depth), words(block))
  }

  static func multiply(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ rows: Int, _ columns: Int, depth: Int,
    into c: UnsafeMutablePointer<Float>, ldc: Int, accumulate: Bool
  ) {
    eagle_gemm_bf16_block(
      UnsafeRawPointer(a).assumingMemoryBound(to: UInt32.self),
      UnsafeRawPointer(b).assumingMemoryBound(to: UInt32.self), Int64(rows), Int64(columns), Int64(depth), c,
      Int64(ldc),
      accumulate ? 1 : 0)
  }

  private static func words(_ packed: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<UInt32> {
    UnsafeMutableRawPointer(packed).assumingMemoryBound(to: UInt32.self)
  }
}
