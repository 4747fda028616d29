// Vectors of float32 elements and the loops over them that several ops share. Everything is inlined, so that a loop is
// compiled for the instruction set of the function that contains it.
//
// Two kinds of loops: those over explicit vectors, whose order of additions is the same wherever they are compiled
// into, and those under EAGLE_REASSOCIATE, where the compiler chooses the order.
#ifndef EAGLE_VECTOR_H
#define EAGLE_VECTOR_H

#include <stdint.h>
#include <string.h>
#include "dispatch.h"

// The helpers are always inlined, so no vector crosses a call and the ABI warning does not apply.
#pragma clang diagnostic ignored "-Wpsabi"

// 4 elements, 8 (a register of AVX2) and 16 (one of AVX-512).
typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));

// The same in memory, at any address.
typedef float f32x8_unaligned __attribute__((vector_size(32), aligned(4)));
typedef float f32x16_unaligned __attribute__((vector_size(64), aligned(4)));

EAGLE_INLINE f32x8 load8(const float *p) { return *(const f32x8_unaligned *)p; }

// A macro: a function that returns so wide a vector would have to be compiled for AVX-512 alone.
#define load16(p) (*(const f32x16_unaligned *)(p))

/// The float32 value of a bfloat16 bit pattern, which is its upper half.
EAGLE_INLINE float widen_bf16(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/// The float32 value of a float16 bit pattern.
EAGLE_INLINE float widen_f16(uint16_t bits) {
  _Float16 value;
  memcpy(&value, &bits, sizeof value);
  return (float)value;
}

// MARK: sums

// The steps in which sixteen lanes are added in halves, for two vectors at a time: each puts the halves of both side by
// side. After all four, of two, four, eight and sixteen vectors, lane j holds the sum of vector j. Macros, as load16
// is.
#define ADD_HALVES(a, b)                                                                           \
  (__builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +         \
   __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#define ADD_QUARTERS(a, b)                                                                         \
  (__builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +       \
   __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31))
#define ADD_EIGHTHS(a, b)                                                                          \
  (__builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +       \
   __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31))
#define ADD_NEIGHBOURS(a, b)                                                                       \
  (__builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +      \
   __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31))

/// The sum of eight lanes, added in halves: lane j and lane j + 4, then j and j + 2, then the last two.
EAGLE_INLINE float sum_lanes8(f32x8 v) {
  f32x4 b = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}

EAGLE_INLINE float dot(const float *a, const float *b, int64_t n) {
  EAGLE_REASSOCIATE
  float sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/// y += factor x.
EAGLE_INLINE void add_scaled(float *restrict y, float factor, const float *restrict x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += factor * x[i];
}

/// The largest of n elements and of `start`.
EAGLE_INLINE float maximum_of(const float *x, int64_t n, float start) {
  f32x8 top[4];
  for (int j = 0; j < 4; j++) top[j] = (f32x8){start, start, start, start, start, start, start, start};
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    for (int j = 0; j < 4; j++) top[j] = __builtin_elementwise_max(top[j], load8(x + i + 8 * j));
  f32x8 all = __builtin_elementwise_max(
      __builtin_elementwise_max(top[0], top[1]), __builtin_elementwise_max(top[2], top[3]));
  float maximum = start;
  for (int j = 0; j < 8; j++) maximum = all[j] > maximum ? all[j] : maximum;
  for (; i < n; i++) maximum = x[i] > maximum ? x[i] : maximum;
  return maximum;
}

// MARK: the exponential

/// e^x for x <= 88, without branches so that loops over it vectorise; relative error below 2e-7, 0 below -87.3.
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series to r^7; 2^n by the exponent bits.
EAGLE_INLINE float eagle_expf(float x) {
  float clamped = x < -87.3f ? -87.3f : x > 88.0f ? 88.0f : x;
  float n = __builtin_roundevenf(clamped * 1.44269504088896341f);
  float r = clamped - n * 0.693145751953125f;
  r = r - n * 1.42860682030941723e-6f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  int32_t bits = ((int32_t)n + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return x < -87.3f ? 0.0f : p * power;
}

/// Overwrites x by e^(scale x - shift) and returns `sum` plus what it has written.
EAGLE_INLINE float exponentiate(float *x, int64_t n, float scale, float shift, float sum) {
  EAGLE_REASSOCIATE
  for (int64_t i = 0; i < n; i++) {
    float e = eagle_expf(scale * x[i] - shift);
    x[i] = e;
    sum += e;
  }
  return sum;
}

#endif
