// Eight float32 lanes, one AVX2 register, or sixteen, one of AVX-512, for loops whose order of additions must be the same wherever they are compiled
// into: a compiler that may reassociate could choose another order at each place.
#ifndef EAGLE_LANES_H
#define EAGLE_LANES_H

#include "dispatch.h"

// The helpers are always inlined, so no vector crosses a call and the ABI warning does not apply.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float lanes __attribute__((vector_size(32)));
typedef float lanes_unaligned __attribute__((vector_size(32), aligned(4)));
typedef float lanes4 __attribute__((vector_size(16)));
typedef float lanes16 __attribute__((vector_size(64)));
typedef float lanes16_unaligned __attribute__((vector_size(64), aligned(4)));

EAGLE_INLINE lanes load(const float *p) { return *(const lanes_unaligned *)p; }

// No function: it would have to be compiled for AVX-512 alone to give back so wide a vector.
#define load16(p) (*(const lanes16_unaligned *)(p))

EAGLE_INLINE float sum_lanes(lanes v) {
  lanes4 b = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}

/// The largest of n numbers and of `start`.
EAGLE_INLINE float maximum_of(const float *x, int64_t n, float start) {
  lanes top[4];
  for (int j = 0; j < 4; j++) top[j] = (lanes){start, start, start, start, start, start, start, start};
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    for (int j = 0; j < 4; j++) top[j] = __builtin_elementwise_max(top[j], load(x + i + 8 * j));
  lanes all = __builtin_elementwise_max(
      __builtin_elementwise_max(top[0], top[1]), __builtin_elementwise_max(top[2], top[3]));
  float maximum = start;
  for (int j = 0; j < 8; j++) maximum = all[j] > maximum ? all[j] : maximum;
  for (; i < n; i++) maximum = x[i] > maximum ? x[i] : maximum;
  return maximum;
}

#endif
