import CEagleKernels
import Foundation

// O outputs · I inputs.

/// The tiles of a matrix in blocks [O, I]: the same blocks, rearranged so that a vector holds elements of eight
/// outputs. Small-M matmuls read them several times as fast.
///
/// They are made when the first such matmul needs them. From then on all matmuls read the tiles, and the memory of the
/// rows is returned to the system: rows of a mapped file are read again on access, rows of a copy are gone.
final class BlockTiles: @unchecked Sendable {
  /// Whether this processor multiplies tiles.
  static let areSupported = eagle_has_tiles() != 0

  private let lock = NSLock()
  private var storage: Storage?

  /// Their address, where they have been made.
  var address: UnsafeRawPointer? { lock.withLock { storage.map { UnsafeRawPointer($0.base) } } }

  /// The address of the tiles of `matrix`, which this belongs to.
  func make(for matrix: Tensor) -> UnsafeRawPointer {
    lock.withLock {
      if let storage { return UnsafeRawPointer(storage.base) }
      let new = Self.packed(matrix)
      storage = new
      matrix.releaseRows()
      return UnsafeRawPointer(new.base)
    }
  }

  private static func packed(_ matrix: Tensor) -> Storage {
    let (outputs, k, type) = (matrix.rows, matrix.columns, matrix.dtype.weightType!)
    let (rowBytes, tileBytes) = (matrix.dtype.bytes(k), Int(eagle_tile_bytes(type, Int64(k))))
    let count = (outputs + tileOutputs - 1) / tileOutputs
    let storage = TileMemory.shared.take(count * tileBytes)
    let rows = matrix.storage.base + matrix.byteOffset
    Parallel.forEachRange(count, grain: 4) { range in
      for tile in range {
        let first = tile * tileOutputs
        eagle_tile_pack(
          type, rows + first * rowBytes, Int64(min(tileOutputs, outputs - first)), Int64(k),
          storage.base + tile * tileBytes)
      }
    }
    return storage
  }

  /// Outputs of a tile.
  static let tileOutputs = 8

  /// Writes the values of some rows of `matrix`, from a multiple of eight on, as float32.
  static func widen(
    _ tiles: UnsafeRawPointer, of matrix: Tensor, _ rows: Range<Int>, into y: UnsafeMutablePointer<Float>
  ) {
    precondition(rows.lowerBound % tileOutputs == 0, "tiles of the rows \(rows)")
    let (k, type) = (matrix.columns, matrix.dtype.weightType!)
    let tileBytes = Int(eagle_tile_bytes(type, Int64(k)))
    for first in stride(from: rows.lowerBound, to: rows.upperBound, by: tileOutputs) {
      eagle_tile_decode(
        type, tiles + first / tileOutputs * tileBytes, Int64(min(tileOutputs, rows.upperBound - first)), Int64(k),
        y + (first - rows.lowerBound) * k)
    }
  }
}

extension Tensor {
  /// Makes the tiles of a matrix in blocks if the matmuls of `mode` will read them.
  package func prepare(for mode: MatmulMode) {
    if mode.quantizesRows { _ = tiles?.make(for: self) }
  }
}
