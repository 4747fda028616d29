import CEagleKernels

/// Element type of a tensor. Names are those of NumPy and PyTorch, and of GGUF for blocks.
package enum DType: String, Sendable, Codable, CaseIterable {
  case float32, bfloat16, float16, int64, int32, uint8, int8, bool

  // Blocks of 32 quantised elements, which share a scale.
  case q8_0, q4_0, q4_1, q5_0, q5_1, mxfp4
  case iq4_nl
  // Blocks of 256, with scales for each 32 or 16.
  case q4_K, q5_K, q6_K
  case iq4_xs

  /// The formats of weights that come in blocks.
  package static let blockFormats: [DType] = [
    .q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .mxfp4, .iq4_nl, .q4_K, .q5_K, .q6_K, .iq4_xs,
  ]

  /// Whether elements are quantised in blocks. Rows are whole blocks.
  package var isBlocks: Bool { blockLength > 1 }

  /// Elements of a block; 1 for types without blocks.
  package var blockLength: Int { weightType.map { Int(eagle_block_length($0)) } ?? 1 }

  /// Bytes of a block, or of a single element.
  package var blockBytes: Int {
    switch self {
    case .int64: 8
    case .int32: 4
    case .uint8, .int8, .bool: 1
    default: weightType.map { Int(eagle_block_bytes($0)) }!
    }
  }

  /// Bytes of one element of a type without blocks.
  package var size: Int {
    precondition(!isBlocks, "the size of an element of \(self)")
    return blockBytes
  }

  /// Bytes of this many elements, whole blocks.
  package func bytes(_ elements: Int) -> Int {
    isBlocks ? elements / blockLength * blockBytes : elements * blockBytes
  }

  /// The type of weights that kernels multiply; nil for the others.
  package var weightType: eagle_weight_type? {
    switch self {
    case .float32: EAGLE_WEIGHTS_F32
    case .bfloat16: EAGLE_WEIGHTS_BF16
    case .float16: EAGLE_WEIGHTS_F16
    case .q8_0: EAGLE_WEIGHTS_Q8_0
    case .q4_0: EAGLE_WEIGHTS_Q4_0
    case .q4_1: EAGLE_WEIGHTS_Q4_1
    case .q5_0: EAGLE_WEIGHTS_Q5_0
    case .q5_1: EAGLE_WEIGHTS_Q5_1
    case .mxfp4: EAGLE_WEIGHTS_MXFP4
    case .iq4_nl: EAGLE_WEIGHTS_IQ4_NL
    case .q4_K: EAGLE_WEIGHTS_Q4_K
    case .q5_K: EAGLE_WEIGHTS_Q5_K
    case .q6_K: EAGLE_WEIGHTS_Q6_K
    case .iq4_xs: EAGLE_WEIGHTS_IQ4_XS
    case .int64, .int32, .uint8, .int8, .bool: nil
    }
  }
}
