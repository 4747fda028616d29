/// A reference to a dense row-major array: **copies alias**, so that what one writes the other reads.
///
/// It is an element type, a shape and an offset into a `Storage`, which copies, slices and reshaped tensors share. A
/// struct all the same, since a tensor of a mapped file or a slice then costs no allocation. Ops return new tensors
/// unless their name says otherwise (`accumulate`, `clear`, `into:`):
///
///     let a = Tensor([1, 2], [2])
///     let b = a
///     b.clear()                      // a is 0 too
///     let c = Elementwise.sum(a, b)  // new storage
///
/// There is no lazy evaluation, broadcasting or view with strides: an op says in its name what it does to which shape.
package struct Tensor: @unchecked Sendable {
  package let dtype: DType
  package let shape: [Int]
  package let storage: Storage
  /// Bytes from the start of the storage.
  package let byteOffset: Int
  /// The tiles of a matrix in blocks.
  let tiles: BlockTiles?

  /// An uninitialised tensor.
  package init(_ shape: [Int], dtype: DType = .float32) {
    self.init(shape, dtype: dtype, storage: Storage(byteCount: dtype.bytes(shape.reduce(1, *))), byteOffset: 0)
  }

  /// A tensor over existing storage, which holds its elements from `byteOffset` on.
  package init(_ shape: [Int], dtype: DType, storage: Storage, byteOffset: Int) {
    let bytes = dtype.bytes(shape.reduce(1, *))
    precondition(
      (shape.last ?? 1) % dtype.blockLength == 0 && shape.allSatisfy { $0 >= 0 } && byteOffset >= 0
        && byteOffset + bytes <= storage.byteCount,
      "tensor \(shape) of \(dtype) at byte \(byteOffset) does not fit \(storage.byteCount) bytes")
    self.dtype = dtype
    self.shape = shape
    self.storage = storage
    self.byteOffset = byteOffset
    tiles = dtype.isBlocks && BlockTiles.areSupported ? BlockTiles() : nil
  }

  /// A float32 tensor with these values.
  package init(_ values: [Float], _ shape: [Int]) {
    self.init(shape)
    precondition(values.count == count, "\(values.count) values for shape \(shape)")
    _ = buffer(Float.self).initialize(from: values)
  }

  /// A tensor with all bits 0.
  package static func zeros(_ shape: [Int], dtype: DType = .float32) -> Tensor {
    let tensor = Tensor(shape, dtype: dtype)
    tensor.clear()
    return tensor
  }

  /// A float32 tensor with one value everywhere.
  package static func filled(_ shape: [Int], with value: Float) -> Tensor {
    let tensor = Tensor(shape)
    tensor.buffer(Float.self).initialize(repeating: value)
    return tensor
  }

  /// Sets all bits to 0, on all threads.
  package func clear() {
    let bytes = rawBytes
    Parallel.forEachRange(bytes.count, grain: 1 << 20) { range in
      (bytes.baseAddress! + range.lowerBound).initializeMemory(as: UInt8.self, repeating: 0, count: range.count)
    }
  }

  package var count: Int { shape.reduce(1, *) }
  package var byteCount: Int { dtype.bytes(count) }

  /// Elements in the last dimension; 1 for a scalar.
  package var columns: Int { shape.last ?? 1 }
  /// Product of all dimensions but the last.
  package var rows: Int {
    var product = 1
    for axis in 0..<max(0, shape.count - 1) { product *= shape[axis] }
    return product
  }

  package var rawBytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: storage.base + byteOffset, count: byteCount)
  }

  /// The elements as `Element`, which must have the size of `dtype`.
  package func buffer<Element>(_: Element.Type) -> UnsafeMutableBufferPointer<Element> {
    precondition(MemoryLayout<Element>.size == dtype.blockBytes, "\(Element.self) cannot view \(dtype)")
    return rawBytes.bindMemory(to: Element.self)
  }

  /// The address of the float32 elements.
  package var floats: UnsafeMutablePointer<Float> {
    precondition(dtype == .float32, "floats of a \(dtype) tensor")
    return (storage.base + byteOffset).assumingMemoryBound(to: Float.self)
  }

  /// The address of the bfloat16 bit patterns.
  package var bfloats: UnsafeMutablePointer<UInt16> {
    precondition(dtype == .bfloat16, "bfloats of a \(dtype) tensor")
    return (storage.base + byteOffset).assumingMemoryBound(to: UInt16.self)
  }

  /// The float32 values as an array.
  package var values: [Float] { Array(UnsafeBufferPointer(start: floats, count: count)) }

  /// The same elements in another shape.
  package func reshaped(_ newShape: [Int]) -> Tensor {
    precondition(newShape.reduce(1, *) == count, "\(shape) reshaped to \(newShape)")
    precondition(hasRows, "another shape of a matrix that is in tiles")
    return Tensor(newShape, dtype: dtype, storage: storage, byteOffset: byteOffset)
  }

  /// Rows `range` of the first dimension, sharing the storage.
  package func slice(_ range: Range<Int>) -> Tensor {
    if range == 0..<shape[0] { return self }
    precondition(range.lowerBound >= 0 && range.upperBound <= shape[0], "rows \(range) of \(shape)")
    precondition(hasRows, "rows of a matrix that is in tiles")
    let stride = dtype.bytes(shape.dropFirst().reduce(1, *))
    return Tensor(
      [range.count] + shape.dropFirst(), dtype: dtype, storage: storage,
      byteOffset: byteOffset + range.lowerBound * stride)
  }
}
