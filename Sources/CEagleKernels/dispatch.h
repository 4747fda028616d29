// Function multi-versioning: one body, compiled for three instruction sets, chosen by the loader.
#ifndef EAGLE_DISPATCH_H
#define EAGLE_DISPATCH_H

#if defined(__x86_64__)
#define EAGLE_DISPATCHED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
/// Without it the compiler would cut a vector of sixteen elements in two where the processor has one.
#define EAGLE_WIDE_VECTORS __attribute__((min_vector_width(512)))
#else
#define EAGLE_DISPATCHED
#define EAGLE_WIDE_VECTORS
#endif
#define EAGLE_INLINE static inline __attribute__((always_inline))

/// Sums may be reordered into vector lanes inside the block that this opens.
#define EAGLE_REASSOCIATE _Pragma("clang fp reassociate(on)")

#endif
