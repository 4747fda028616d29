import EagleCore
import EagleTensor

/// The format of keys and values in a KV cache. They are rounded when they are written, and every pass reads what is
/// stored: in every format a sequence does not depend on its drafts.
public enum CacheFormat: String, Sendable, Codable, CaseIterable {
  /// Elements of float32 or bfloat16, without blocks.
  case fp32, bf16
  /// 8 bits an element, and a scale for each block of 32 elements of a head.
  case q8_0

  var dtype: DType {
    switch self {
    case .fp32: .float32
    case .bf16: .bfloat16
    case .q8_0: .q8_0
    }
  }

  /// Whether heads of `headDimension` elements are whole blocks.
  package func fits(_ headDimension: Int) -> Bool { headDimension % dtype.blockLength == 0 }

  /// The line that names the fallback for attention heads of `headDimension` elements that are no whole blocks; nil if
  /// they fit.
  ///
  /// ```
  /// bf16 in place of q8_0: heads of 80 elements are no multiple of 32
  /// ```
  package func fallbackLine(headDimension: Int) -> String? {
    fits(headDimension)
      ? nil : "bf16 in place of \(rawValue): heads of \(headDimension) elements are no multiple of \(dtype.blockLength)"
  }

  /// The default for matmuls of a precision.
  package init(for precision: ComputePrecision) { self = precision == .fp32 ? .fp32 : .bf16 }
}
