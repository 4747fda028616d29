import CEagleKernels

/// The instruction sets of this processor, detected once.
package enum Processor {
  package static let hasAVX2 = eagle_cpu_has_avx2() != 0
  package static let hasAVX512 = eagle_cpu_has_avx512() != 0
  /// Multiplication of bfloat16 vectors.
  package static let hasAVX512BFloat16 = eagle_cpu_has_avx512_bf16() != 0
  /// Whether that is faster than to widen both operands and multiply in float32: on AMD's processors.
  package static let hasFastBFloat16Products = hasAVX512BFloat16 && eagle_cpu_multiplies_bf16_fast() != 0
  /// Multiplication of bfloat16 tiles.
  package static let hasAMX = eagle_cpu_has_amx_bf16() != 0

  package static var name: String {
    if hasAMX { return "AMX-BF16" }
    if hasAVX512BFloat16 { return "AVX512-BF16" }
    return hasAVX512 ? "AVX-512" : hasAVX2 ? "AVX2" : "baseline"
  }
}
