/// Element type of a tensor. Names are those of NumPy and PyTorch.
package enum DType: String, Sendable, Codable, CaseIterable {
  case float32, bfloat16, float16, int64, int32, uint8, bool
  /// Whole numbers of -127 to 127. As a weight each row has a scale of its own (`Tensor.quantized`).
  case int8

  /// Bytes of one element.
  package var size: Int {
    switch self {
    case .float32, .int32: 4
    case .bfloat16, .float16: 2
    case .int64: 8
    case .uint8, .bool, .int8: 1
    }
  }
}
