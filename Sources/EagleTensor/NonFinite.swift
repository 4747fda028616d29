import CEagleKernels

/// The non-finite values, NaN and infinities, among stored elements.
package struct NonFinite: Equatable, Sendable {
  package private(set) var count = 0
  /// Index of the first element that is one; nil when all are finite.
  package private(set) var first: Int?

  package init() {}

  /// Looks through elements of a type as they are stored. Other types have no such values.
  ///
  /// - Parameter bytes: whole elements, aligned for them
  package init(in bytes: UnsafeRawBufferPointer, dtype: DType) {
    precondition(bytes.count % dtype.blockBytes == 0, "\(bytes.count) bytes of \(dtype)")
    let n = Int64(bytes.count / dtype.blockBytes)
    var index: Int64 = 0
    switch dtype {
    case .bfloat16:
      count = Int(eagle_count_nonfinite16(bytes.bindMemory(to: UInt16.self).baseAddress, n, 0x7f80, &index))
    case .float16:
      count = Int(eagle_count_nonfinite16(bytes.bindMemory(to: UInt16.self).baseAddress, n, 0x7c00, &index))
    case .float32:
      count = Int(eagle_count_nonfinite32(bytes.bindMemory(to: UInt32.self).baseAddress, n, 0x7f80_0000, &index))
    default: break
    }
    if count > 0 { first = Int(index) }
  }

  /// Adds what a later chunk of the same elements holds, which begins at the element `offset`.
  package mutating func add(_ later: NonFinite, at offset: Int) {
    first = first ?? later.first.map { $0 + offset }
    count += later.count
  }
}
