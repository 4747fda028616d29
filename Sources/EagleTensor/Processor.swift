import CEagleKernels

/// What this processor can do, asked once.
public enum Processor {
  public static let hasAVX2 = eagle_cpu_has_avx2() != 0
  public static let hasAVX512 = eagle_cpu_has_avx512() != 0
  /// bfloat16 products in hardware (AVX512-BF16 or AMX).
  public static let hasBFloat16 = eagle_cpu_has_avx512_bf16() != 0 || eagle_cpu_has_amx_bf16() != 0

  public static var name: String {
    if eagle_cpu_has_amx_bf16() != 0 { return "AMX-BF16" }
    if eagle_cpu_has_avx512_bf16() != 0 { return "AVX512-BF16" }
    return hasAVX512 ? "AVX-512" : hasAVX2 ? "AVX2" : "baseline"
  }
}
