// Function multi-versioning: one body, compiled for three instruction sets, chosen by the loader; and functions for one
// instruction set alone.
#ifndef EAGLE_DISPATCH_H
#define EAGLE_DISPATCH_H

#if defined(__x86_64__)
#define EAGLE_DISPATCHED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
/// Without it the compiler splits a vector of sixteen elements into two, even for AVX-512.
#define EAGLE_WIDE_VECTORS __attribute__((min_vector_width(512)))
#else
#define EAGLE_DISPATCHED
#define EAGLE_WIDE_VECTORS
#endif
#define EAGLE_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
// Functions for AVX-512, and for AVX-512 with bfloat16 products. Callers test the processor.
#define EAGLE_AVX512 __attribute__((target("arch=x86-64-v4"))) EAGLE_WIDE_VECTORS
#define EAGLE_INLINE_AVX512 EAGLE_AVX512 EAGLE_INLINE
#define EAGLE_AVX512_BF16 __attribute__((target("arch=x86-64-v4,avx512bf16"))) EAGLE_WIDE_VECTORS
#define EAGLE_INLINE_AVX512_BF16 EAGLE_AVX512_BF16 EAGLE_INLINE
#endif

/// Sums may be reordered into vector lanes inside the block that this opens.
#define EAGLE_REASSOCIATE _Pragma("clang fp reassociate(on)")

#endif
