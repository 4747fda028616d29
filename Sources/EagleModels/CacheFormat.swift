import EagleCore
import EagleTensor

/// The format of keys and values in a KV cache. They are rounded when they are written, and every pass reads what is
/// stored: a text does not depend on its drafts in any of them.
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

  /// What a head's cache is in where its heads of `headDimension` elements do not fit, in one line; nil where they do.
  ///
  /// ```
  /// bf16 in place of q8_0: heads of 80 elements are no multiple of 32
  /// ```
  package func fallbackLine(headDimension: Int) -> String? {
    fits(headDimension)
      ? nil : "bf16 in place of \(rawValue): heads of \(headDimension) elements are no multiple of \(dtype.blockLength)"
  }

  /// The default beside products of some precision.
  package init(for precision: ComputePrecision) { self = precision == .fp32 ? .fp32 : .bf16 }
}
