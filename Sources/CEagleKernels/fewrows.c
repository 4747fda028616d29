#include "include/CEagleKernels.h"

#include <string.h>
#include "lanes.h"

// y[m][n] = sum_k x[m][k] w[n][k], for few m: every weight comes from memory once and serves all rows.
//
// Sixteen values of k are taken at a time, as two vectors of eight lanes; lane l of an accumulator adds the products that
// fall on it, in the order of k. Then the lanes are added in halves and the tail of k one by one. That order is the same
// whatever the number of rows and of outputs that are in flight, which makes decoding independent of the batch.

typedef uint32_t words __attribute__((vector_size(32)));
typedef uint32_t words_unaligned __attribute__((vector_size(32), aligned(2)));

EAGLE_INLINE lanes first_f32(const float *p) { return load(p); }
EAGLE_INLINE lanes second_f32(const float *p) { return load(p + 8); }

// Two bf16 numbers share a word: the one at the even place is its low half. So the sixteen at p are eight even numbers and
// eight odd ones, and x lies in that order too (eagle_few_rows_order).
EAGLE_INLINE lanes first_bf16(const uint16_t *p) { return (lanes)(*(const words_unaligned *)p << 16); }
EAGLE_INLINE lanes second_bf16(const uint16_t *p) { return (lanes)(*(const words_unaligned *)p & 0xffff0000u); }

EAGLE_INLINE float scalar_f32(float value) { return value; }

EAGLE_INLINE float scalar_bf16(uint16_t h) {
  uint32_t bits = (uint32_t)h << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

EAGLE_DISPATCHED
void eagle_few_rows_order(const float *x, float *y, int64_t rows, int64_t k) {
  for (int64_t m = 0; m < rows; m++, x += k, y += k) {
    int64_t i = 0;
    for (; i + 16 <= k; i += 16)
      for (int j = 0; j < 8; j++) {
        y[i + j] = x[i + 2 * j];
        y[i + 8 + j] = x[i + 2 * j + 1];
      }
    for (; i < k; i++) y[i] = x[i];
  }
}

// The weights lie in memory one after the other, but are read in several places at once, which the processor's own prefetch
// does not see through: so each block asks for bytes that lie a little further on.
enum { CHUNK_BYTES = 32768, AHEAD_BYTES = 4096 };

// Which part of k asks, and how far ahead. Where a chunk takes several passes they share out the asking for the next chunk,
// so that memory is never idle.
typedef struct {
  int64_t begin, end, bytes;
} k_range;

// `rows` and `outputs` are compile-time constants in every call, so that sums, weights and one x are in registers: 16 of
// them in AVX2. Eight to ten sums keep both multipliers busy without waiting for one another.
#define DEFINE_BLOCK(name, type, first, second, scalar)                                                            \
  EAGLE_INLINE void name(const int rows, const int outputs, k_range asking, const float *x, int64_t k,             \
                         const type *w, const float *bias, float *y, int64_t y_stride) {                           \
    lanes sum[5][4], weight[4];                                                                                    \
    for (int m = 0; m < rows; m++)                                                                                 \
      for (int n = 0; n < outputs; n++) sum[m][n] = (lanes){0};                                                    \
    const char *ahead = (const char *)w + asking.bytes;                                                            \
    int64_t i = 0;                                                                                                 \
    for (; i + 16 <= k; i += 16) {                                                                                 \
      if (i >= asking.begin && i < asking.end)                                                                     \
        for (int j = 0; j < 16 * outputs * (int)sizeof(type); j += 64)                                             \
          __builtin_prefetch(ahead + i * outputs * sizeof(type) + j);                                              \
      for (int n = 0; n < outputs; n++) weight[n] = first(w + n * k + i);                                          \
      for (int m = 0; m < rows; m++)                                                                               \
        for (int n = 0; n < outputs; n++) sum[m][n] += load(x + m * k + i) * weight[n];                            \
      for (int n = 0; n < outputs; n++) weight[n] = second(w + n * k + i);                                         \
      for (int m = 0; m < rows; m++)                                                                               \
        for (int n = 0; n < outputs; n++) sum[m][n] += load(x + m * k + i + 8) * weight[n];                        \
    }                                                                                                              \
    for (int m = 0; m < rows; m++)                                                                                 \
      for (int n = 0; n < outputs; n++) {                                                                          \
        float total = sum_lanes(sum[m][n]);                                                                        \
        for (int64_t j = i; j < k; j++) total += x[m * k + j] * scalar(w[n * k + j]);                              \
        y[m * y_stride + n] = total + (bias ? bias[n] : 0.0f);                                                     \
      }                                                                                                            \
  }

DEFINE_BLOCK(block_f32, float, first_f32, second_f32, scalar_f32)
DEFINE_BLOCK(block_bf16, uint16_t, first_bf16, second_bf16, scalar_bf16)

// Up to five rows go in one pass and stay in the first cache. More take several; the later ones find the chunk of weights
// in the second cache.
#define DEFINE_FEW_ROWS(name, type, block)                                                                         \
  EAGLE_INLINE void name##_pass(const int rows, const int outputs, k_range asking, const float *x, int64_t k,      \
                                const type *w, const float *bias, float *y, int64_t y_stride, int64_t n_begin,     \
                                int64_t n_end) {                                                                   \
    int64_t n = n_begin;                                                                                           \
    for (; n + outputs <= n_end; n += outputs)                                                                     \
      block(rows, outputs, asking, x, k, w + n * k, bias ? bias + n : 0, y + n, y_stride);                         \
    for (; n < n_end; n++) block(rows, 1, asking, x, k, w + n * k, bias ? bias + n : 0, y + n, y_stride);          \
  }                                                                                                                \
  EAGLE_DISPATCHED                                                                                                 \
  void name(const float *x, int64_t rows, int64_t k, const type *w, const float *bias, float *y,                   \
            int64_t y_stride, int64_t n_begin, int64_t n_end) {                                                    \
    int64_t chunk = few_rows_chunk(k * sizeof(type)), passes = (rows + 4) / 5;                                      \
    for (int64_t n = n_begin; n < n_end; n += chunk) {                                                             \
      int64_t end = n + chunk < n_end ? n + chunk : n_end, m = 0;                                                  \
      for (int64_t pass = 0; m < rows; pass++) {                                                                   \
        k_range asking = {k * pass / passes, k * (pass + 1) / passes, AHEAD_BYTES};                                \
        if (passes > 1) asking.bytes = chunk * k * (int64_t)sizeof(type);                                          \
        const float *xm = x + m * k;                                                                               \
        float *ym = y + m * y_stride;                                                                              \
        int64_t left = rows - m, taken = left <= 5 ? left : left == 6 ? 3 : 5;                                     \
        if (taken == 1) name##_pass(1, 4, asking, xm, k, w, bias, ym, y_stride, n, end);                           \
        if (taken == 2) name##_pass(2, 3, asking, xm, k, w, bias, ym, y_stride, n, end);                           \
        if (taken == 3) name##_pass(3, 3, asking, xm, k, w, bias, ym, y_stride, n, end);                           \
        if (taken == 4) name##_pass(4, 2, asking, xm, k, w, bias, ym, y_stride, n, end);                           \
        if (taken == 5) name##_pass(5, 2, asking, xm, k, w, bias, ym, y_stride, n, end);                           \
        m += taken;                                                                                                \
      }                                                                                                            \
    }                                                                                                              \
  }

// Outputs whose weights, of `bytes` each, about fill a chunk; a multiple of all widths of a pass.
EAGLE_INLINE int64_t few_rows_chunk(int64_t bytes) {
  int64_t outputs = CHUNK_BYTES / (bytes + 1) / 12 * 12;
  return outputs < 12 ? 12 : outputs;
}

DEFINE_FEW_ROWS(eagle_few_rows_bf16, uint16_t, block_bf16)
DEFINE_FEW_ROWS(eagle_few_rows_f32, float, block_f32)
