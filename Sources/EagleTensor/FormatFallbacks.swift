/// The matrices that quantisation leaves in another format than the requested one, because their rows are no whole
/// blocks of it.
package struct FormatFallbacks: Sendable, Equatable {
  private struct Fallback: Sendable, Hashable {
    let wanted: DType
    /// The format taken; that of the file where no blocks fit.
    let taken: DType
  }

  /// The matrices that were to be quantised.
  private var matrices = 0
  private var counts: [Fallback: Int] = [:]
  private var columns: [Fallback: Set<Int>] = [:]
  /// In the order in which they were added.
  private var order: [Fallback] = []

  package init() {}

  /// Counts a matrix that is to be quantised to `format`. One in blocks stays as it is.
  ///
  /// - Parameter stored: the type before; nil for the matrix's own
  package mutating func add(_ matrix: Tensor, from stored: DType? = nil, to format: DType) {
    matrices += 1
    let (stored, fitting) = (stored ?? matrix.dtype, format.fitting(columns: matrix.columns))
    guard !stored.isBlocks, fitting != format else { return }
    let fallback = Fallback(wanted: format, taken: fitting ?? stored)
    if counts[fallback] == nil { order.append(fallback) }
    counts[fallback, default: 0] += 1
    columns[fallback, default: []].insert(matrix.columns)
  }

  /// One line that counts them, as llama-quantize does; nil where there are none.
  ///
  /// ```
  /// 180 of 211 matrices in q5_0 in place of q4_k: rows of 576 are no multiple of 256
  /// ```
  package var line: String? {
    let parts = order.enumerated().map { index, fallback in
      let count = index == 0 ? "\(counts[fallback]!) of \(matrices) matrices" : "\(counts[fallback]!)"
      let rows = columns[fallback]!.sorted().map(String.init).joined(separator: ", ")
      // A matrix that fits no blocks of 32 either stays as it is.
      let multiple = fallback.taken.isBlocks ? fallback.wanted.blockLength : 32
      return "\(count) in \(fallback.taken.lowercasedName) in place of \(fallback.wanted.lowercasedName): "
        + "rows of \(rows) are no multiple of \(multiple)"
    }
    return parts.isEmpty ? nil : parts.joined(separator: "; ")
  }
}

extension DType {
  fileprivate var lowercasedName: String { rawValue.lowercased() }
}
