#include "include/CEagleKernels.h"

#include <string.h>
#include "dispatch.h"

// Sixteen lanes: one AVX-512 register or two AVX2 registers. Lane l of an accumulator sums the products of
// k = l, l + 16, l + 32, ...; then the lanes are added in halves and the tail of k one by one. That order is the same
// whatever the number of rows, which is what makes decoding independent of the batch.
// The helpers are always inlined, so no vector crosses a call and the ABI warning does not apply.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float lanes __attribute__((vector_size(64)));
typedef float lanes_unaligned __attribute__((vector_size(64), aligned(4)));
typedef uint16_t halves_unaligned __attribute__((vector_size(32), aligned(2)));
typedef uint32_t words __attribute__((vector_size(64)));

EAGLE_INLINE lanes load_f32(const float *p) { return *(const lanes_unaligned *)p; }

EAGLE_INLINE lanes load_bf16(const uint16_t *p) {
  words bits = __builtin_convertvector(*(const halves_unaligned *)p, words) << 16;
  return (lanes)bits;
}

EAGLE_INLINE float scalar_bf16(uint16_t h) {
  uint32_t bits = (uint32_t)h << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

typedef float lanes8 __attribute__((vector_size(32)));
typedef float lanes4 __attribute__((vector_size(16)));

EAGLE_INLINE float sum_lanes(lanes v) {
  lanes8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
             __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  lanes4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}

// `rows` is a compile-time constant in every call, so the accumulators stay in registers.
#define DEFINE_BLOCK(name, type, load, scalar)                                                                    \
  EAGLE_INLINE void name(const int rows, const float *x, int64_t k, const type *w, float bias, float *y,          \
                         int64_t y_stride) {                                                                      \
    lanes sum[rows];                                                                                              \
    for (int m = 0; m < rows; m++) sum[m] = (lanes){0};                                                           \
    int64_t i = 0;                                                                                                \
    for (; i + 16 <= k; i += 16) {                                                                                \
      lanes weight = load(w + i);                                                                                 \
      for (int m = 0; m < rows; m++) sum[m] += load_f32(x + m * k + i) * weight;                                  \
    }                                                                                                             \
    for (int m = 0; m < rows; m++) {                                                                              \
      float total = sum_lanes(sum[m]);                                                                            \
      for (int64_t j = i; j < k; j++) total += x[m * k + j] * scalar(w[j]);                                       \
      y[m * y_stride] = total + bias;                                                                             \
    }                                                                                                             \
  }

#define SCALAR_F32(value) (value)
DEFINE_BLOCK(block_bf16, uint16_t, load_bf16, scalar_bf16)
DEFINE_BLOCK(block_f32, float, load_f32, SCALAR_F32)

// One output at a time: its weights come from memory once and serve all rows, four at a time, from the cache.
#define DEFINE_FEW_ROWS(name, type, block)                                                                        \
  EAGLE_DISPATCHED                                                                                                \
  void name(const float *x, int64_t rows, int64_t k, const type *w, const float *bias, float *y,                  \
            int64_t y_stride, int64_t n_begin, int64_t n_end) {                                                   \
    for (int64_t n = n_begin; n < n_end; n++) {                                                                   \
      const type *wn = w + n * k;                                                                                 \
      const float bn = bias ? bias[n] : 0.0f;                                                                     \
      int64_t m = 0;                                                                                              \
      for (; m + 4 <= rows; m += 4) block(4, x + m * k, k, wn, bn, y + m * y_stride + n, y_stride);               \
      const float *xm = x + m * k;                                                                                \
      float *ym = y + m * y_stride + n;                                                                           \
      if (rows - m == 3) block(3, xm, k, wn, bn, ym, y_stride);                                                   \
      if (rows - m == 2) block(2, xm, k, wn, bn, ym, y_stride);                                                   \
      if (rows - m == 1) block(1, xm, k, wn, bn, ym, y_stride);                                                   \
    }                                                                                                             \
  }

DEFINE_FEW_ROWS(eagle_few_rows_bf16, uint16_t, block_bf16)
DEFINE_FEW_ROWS(eagle_few_rows_f32, float, block_f32)
