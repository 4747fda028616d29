import CEagleKernels

/// The instruction sets of this processor, detected once.
public enum Processor {
  public static let hasAVX2 = eagle_cpu_has_avx2() != 0
  public static let hasAVX512 = eagle_cpu_has_avx512() != 0
  /// Multiplication of bfloat16 vectors.
  public static let hasAVX512BFloat16 = eagle_cpu_has_avx512_bf16() != 0
  /// Multiplication of bfloat16 tiles.
  public static let hasAMX = eagle_cpu_has_amx_bf16() != 0

  public static var name: String {
    if hasAMX { return "AMX-BF16" }
    if hasAVX512BFloat16 { return "AVX512-BF16" }
    return hasAVX512 ? "AVX-512" : hasAVX2 ? "AVX2" : "baseline"
  }
}
