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

EAGLE_INLINE float sum_lanes(lanes v) {
  float f[16];
  memcpy(f, &v, sizeof f);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; i++) f[i] += f[i + width];
  return f[0];
}

// `rows` and `outputs` are compile-time constants in every call, so the accumulators stay in registers.
#define DEFINE_BLOCK(name, type, load, scalar)                                                                    \
  EAGLE_INLINE void name(const int rows, const int outputs, const float *x, int64_t k, const type *w,             \
                         const float *bias, float *y, int64_t y_stride) {                                         \
    lanes sum[rows * outputs];                                                                                    \
    for (int i = 0; i < rows * outputs; i++) sum[i] = (lanes){0};                                                 \
    int64_t i = 0;                                                                                                \
    for (; i + 16 <= k; i += 16)                                                                                  \
      for (int n = 0; n < outputs; n++) {                                                                         \
        lanes weight = load(w + n * k + i);                                                                       \
        for (int m = 0; m < rows; m++) sum[n * rows + m] += load_f32(x + m * k + i) * weight;                     \
      }                                                                                                           \
    for (int n = 0; n < outputs; n++)                                                                             \
      for (int m = 0; m < rows; m++) {                                                                            \
        float total = sum_lanes(sum[n * rows + m]);                                                               \
        for (int64_t j = i; j < k; j++) total += x[m * k + j] * scalar(w[n * k + j]);                             \
        y[m * y_stride + n] = bias ? total + bias[n] : total;                                                     \
      }                                                                                                           \
  }

#define SCALAR_F32(value) (value)
DEFINE_BLOCK(block_bf16, uint16_t, load_bf16, scalar_bf16)
DEFINE_BLOCK(block_f32, float, load_f32, SCALAR_F32)

#define DEFINE_FEW_ROWS(name, type, block)                                                                        \
  EAGLE_DISPATCHED                                                                                                \
  void name(const float *x, int64_t rows, int64_t k, const type *w, const float *bias, float *y,                  \
            int64_t y_stride, int64_t n_begin, int64_t n_end) {                                                   \
    for (int64_t n = n_begin; n < n_end;) {                                                                       \
      if (rows == 1 && n + 4 <= n_end) {                                                                          \
        block(1, 4, x, k, w + n * k, bias ? bias + n : 0, y + n, y_stride);                                       \
        n += 4;                                                                                                   \
        continue;                                                                                                 \
      }                                                                                                           \
      for (int64_t m = 0; m < rows;) {                                                                            \
        const float *xm = x + m * k;                                                                              \
        const type *wn = w + n * k;                                                                               \
        const float *bn = bias ? bias + n : 0;                                                                    \
        float *ym = y + m * y_stride + n;                                                                         \
        int64_t left = rows - m;                                                                                  \
        if (left >= 4) { block(4, 1, xm, k, wn, bn, ym, y_stride); m += 4; }                                      \
        else if (left == 3) { block(3, 1, xm, k, wn, bn, ym, y_stride); m += 3; }                                 \
        else if (left == 2) { block(2, 1, xm, k, wn, bn, ym, y_stride); m += 2; }                                 \
        else { block(1, 1, xm, k, wn, bn, ym, y_stride); m += 1; }                                                \
      }                                                                                                           \
      n += 1;                                                                                                     \
    }                                                                                                             \
  }

DEFINE_FEW_ROWS(eagle_few_rows_bf16, uint16_t, block_bf16)
DEFINE_FEW_ROWS(eagle_few_rows_f32, float, block_f32)
