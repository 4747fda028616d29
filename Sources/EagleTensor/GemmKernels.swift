import CEagleKernels

/// float32 GEMMs, written for AVX2. B may be bfloat16: it is widened as it is packed, and a target of bfloat16 weights
/// never has a float32 copy.
enum Float32Kernel: GemmKernel {
  typealias Left = UnsafePointer<Float>
  enum Right {
    case float32(UnsafePointer<Float>)
    case bfloat16(UnsafePointer<UInt16>)
  }

  static let panel = Int(EAGLE_GEMM_COLUMNS)
  static let depth = Int(EAGLE_GEMM_DEPTH)
  /// As many as a core's L2 cache holds: 96 · 320 floats are 123 kB.
  static let blockRows = 96
  /// 3072 · 320 floats are 3.9 MB.
  static let packedColumns = 3072

  static func words(_ k: Int) -> Int { k }

  static func packColumns(of b: MatrixView<Right>, _ block: GemmBlock, into panel: UnsafeMutablePointer<Float>) {
    let (row, column) = (Int64(b.rowStride), Int64(b.columnStride))
    let (depth, count, offset) = (Int64(block.depth.count), Int64(block.lines.count), b.offset(ofColumns: block))
    switch b.base {
    case .float32(let b): eagle_gemm_pack_f32(b + offset, row, column, depth, count, panel)
    case .bfloat16(let b): eagle_gemm_pack_bf16(b + offset, row, column, depth, count, panel)
    }
  }

  static func packRows(of a: FloatMatrix, _ block: GemmBlock, into packed: UnsafeMutablePointer<Float>) {
    eagle_gemm_pack_rows(
      a.base + a.offset(ofRows: block), Int64(a.rowStride), Int64(a.columnStride), Int64(block.lines.count),
      Int64(block.depth.count), packed)
  }

  static func multiply(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ block: eagle_gemm_block) {
    withUnsafePointer(to: block) { eagle_gemm_multiply(a, b, $0) }
  }
}

extension MatrixView {
  /// The element at which a block of the left operand begins: rows of the matrix, depth along its columns.
  fileprivate func offset(ofRows block: GemmBlock) -> Int {
    block.lines.lowerBound * rowStride + block.depth.lowerBound * columnStride
  }

  /// The element at which a block of the right operand begins: columns of the matrix, depth along its rows.
  fileprivate func offset(ofColumns block: GemmBlock) -> Int {
    block.depth.lowerBound * rowStride + block.lines.lowerBound * columnStride
  }
}

/// How a kind of elements is packed for the GEMMs of AVX-512: as float32, or as words of two bfloat16 ones.
protocol GemmPacking {
  associatedtype Element
  associatedtype Word
  static var columns: (UnsafePointer<Element>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<Word>) -> Void { get }
  static var rows: (UnsafePointer<Element>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<Word>) -> Void { get }
}

extension GemmPacking {
  static func packColumns(
    of b: MatrixView<UnsafePointer<Element>>, _ block: GemmBlock, into panel: UnsafeMutableRawPointer
  ) {
    columns(
      b.base + b.offset(ofColumns: block), Int64(b.rowStride), Int64(b.columnStride), Int64(block.depth.count),
      Int64(block.lines.count), panel.assumingMemoryBound(to: Word.self))
  }

  static func packRows(
    of a: MatrixView<UnsafePointer<Element>>, _ block: GemmBlock, into packed: UnsafeMutableRawPointer
  ) {
    rows(
      a.base + a.offset(ofRows: block), Int64(a.rowStride), Int64(a.columnStride), Int64(block.lines.count),
      Int64(block.depth.count), packed.assumingMemoryBound(to: Word.self))
  }
}

/// float32 products, for AVX-512. Elements of other kinds are widened or rounded as they are packed.
enum AVX512Kernel<A: GemmPacking, B: GemmPacking>: GemmKernel where A.Word == Float, B.Word == Float {
  static var panel: Int { Int(EAGLE_GEMM_X16_COLUMNS) }
  static var depth: Int { Int(EAGLE_GEMM_X16_DEPTH) }
  static var blockRows: Int { 8 * Int(EAGLE_GEMM_X16_ROWS) }
  /// 768 · 384 floats are 1.2 MB.
  static var packedColumns: Int { 768 }

  static func words(_ k: Int) -> Int { k }

  static func packColumns(
    of b: MatrixView<UnsafePointer<B.Element>>, _ block: GemmBlock, into panel: UnsafeMutablePointer<Float>
  ) {
    B.packColumns(of: b, block, into: panel)
  }

  static func packRows(
    of a: MatrixView<UnsafePointer<A.Element>>, _ block: GemmBlock, into packed: UnsafeMutablePointer<Float>
  ) {
    A.packRows(of: a, block, into: packed)
  }

  static func multiply(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ block: eagle_gemm_block) {
    withUnsafePointer(to: block) { eagle_gemm_x16_multiply(a, b, $0) }
  }
}

/// bfloat16 products, for processors where AVX512-BF16 is fast. A word holds two elements that follow each other in k.
enum BFloat16Kernel<Packing: GemmPacking>: GemmKernel where Packing.Word == UInt32 {
  static var panel: Int { Int(EAGLE_GEMM_BF16_COLUMNS) }
  static var depth: Int { Int(EAGLE_GEMM_BF16_DEPTH) }
  static var blockRows: Int { 16 * Int(EAGLE_GEMM_BF16_ROWS) }
  /// 1024 · 576 elements are 1.2 MB.
  static var packedColumns: Int { 1024 }

  static func words(_ k: Int) -> Int { (k + 1) / 2 }

  static func packColumns(
    of b: MatrixView<UnsafePointer<Packing.Element>>, _ block: GemmBlock, into panel: UnsafeMutablePointer<Float>
  ) {
    Packing.packColumns(of: b, block, into: panel)
  }

  static func packRows(
    of a: MatrixView<UnsafePointer<Packing.Element>>, _ block: GemmBlock, into packed: UnsafeMutablePointer<Float>
  ) {
    Packing.packRows(of: a, block, into: packed)
  }

  static func multiply(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ block: eagle_gemm_block) {
    withUnsafePointer(to: block) {
      eagle_gemm_bf16_multiply(
        UnsafeRawPointer(a).assumingMemoryBound(to: UInt32.self),
        UnsafeRawPointer(b).assumingMemoryBound(to: UInt32.self), $0)
    }
  }
}

/// float32 elements, as they are.
enum FloatPacking: GemmPacking {
  static var columns: (UnsafePointer<Float>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<Float>) -> Void {
    { eagle_gemm_x16_pack_columns_f32($0, $1, $2, $3, $4, $5) }
  }
  static var rows: (UnsafePointer<Float>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<Float>) -> Void {
    { eagle_gemm_x16_pack_rows_f32($0, $1, $2, $3, $4, $5) }
  }
}

/// bfloat16 elements, widened.
enum WideningPacking: GemmPacking {
  static var columns: (UnsafePointer<UInt16>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<Float>) -> Void {
    { eagle_gemm_x16_pack_columns_bf16($0, $1, $2, $3, $4, $5) }
  }
  static var rows: (UnsafePointer<UInt16>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<Float>) -> Void {
    { eagle_gemm_x16_pack_rows_bf16($0, $1, $2, $3, $4, $5) }
  }
}

/// float32 elements that are rounded to bfloat16 and widened.
enum RoundingPacking: GemmPacking {
  static var columns: (UnsafePointer<Float>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<Float>) -> Void {
    { eagle_gemm_x16_pack_columns_rounded($0, $1, $2, $3, $4, $5) }
  }
  static var rows: (UnsafePointer<Float>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<Float>) -> Void {
    { eagle_gemm_x16_pack_rows_rounded($0, $1, $2, $3, $4, $5) }
  }
}

/// bfloat16 elements, in pairs.
enum PairPacking: GemmPacking {
  static var columns: (UnsafePointer<UInt16>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void {
    { eagle_gemm_bf16_pack_columns($0, $1, $2, $3, $4, $5) }
  }
  static var rows: (UnsafePointer<UInt16>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void {
    { eagle_gemm_bf16_pack_rows($0, $1, $2, $3, $4, $5) }
  }
}

/// float32 elements that are rounded to bfloat16, in pairs.
enum RoundingPairPacking: GemmPacking {
  static var columns: (UnsafePointer<Float>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void {
    { eagle_gemm_bf16_pack_columns_f32($0, $1, $2, $3, $4, $5) }
  }
  static var rows: (UnsafePointer<Float>, Int64, Int64, Int64, Int64, UnsafeMutablePointer<UInt32>) -> Void {
    { eagle_gemm_bf16_pack_rows_f32($0, $1, $2, $3, $4, $5) }
  }
}
