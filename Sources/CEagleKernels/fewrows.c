#include "include/CEagleKernels.h"

#include <string.h>
#include "lanes.h"

// y[m][n] = sum_k x[m][k] w[n][k], for few m: every weight comes from memory once and serves all rows.
//
// Values of k are taken in two vectors at a time; a lane of an accumulator adds the products that fall on it, in the order of k.
// Then the lanes are added in halves and the tail of k one by one. That order is the same whatever the number of rows and of
// outputs that are in flight, which makes decoding independent of the batch. It does depend on the width of a vector: eight lanes,
// or sixteen where the processor has them, so that eight rows take as long as reading their weights does.

typedef uint32_t words __attribute__((vector_size(32)));
typedef uint32_t words_unaligned __attribute__((vector_size(32), aligned(2)));
typedef uint32_t words16 __attribute__((vector_size(64)));
typedef uint32_t words16_unaligned __attribute__((vector_size(64), aligned(2)));

#if defined(__x86_64__)
#define EAGLE_WIDE __attribute__((target("arch=x86-64-v4"))) EAGLE_WIDE_VECTORS
#define INLINE_WIDE EAGLE_WIDE EAGLE_INLINE
#endif

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

#if defined(__x86_64__)
INLINE_WIDE lanes16 first16_f32(const float *p) { return load16(p); }
INLINE_WIDE lanes16 second16_f32(const float *p) { return load16(p + 16); }
INLINE_WIDE lanes16 first16_bf16(const uint16_t *p) { return (lanes16)(*(const words16_unaligned *)p << 16); }
INLINE_WIDE lanes16 second16_bf16(const uint16_t *p) { return (lanes16)(*(const words16_unaligned *)p & 0xffff0000u); }

INLINE_WIDE float sum_lanes16(lanes16 v) {
  lanes half = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  lanes4 b = __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}
#endif

EAGLE_INLINE void copy_rest(const float *x, float *y, int64_t from, int64_t k) {
  for (int64_t i = from; i < k; i++) y[i] = x[i];
}

// The even numbers of each two vectors, then the odd ones; what does not fill two vectors stays.
EAGLE_INLINE void order(const float *x, float *y, int64_t rows, int64_t k) {
  for (int64_t m = 0; m < rows; m++, x += k, y += k) {
    for (int64_t i = 0; i + 16 <= k; i += 16) {
      lanes a = load(x + i), b = load(x + i + 8);
      *(lanes_unaligned *)(y + i) = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
      *(lanes_unaligned *)(y + i + 8) = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
    }
    copy_rest(x, y, k / 16 * 16, k);
  }
}

EAGLE_DISPATCHED
static void order8(const float *x, float *y, int64_t rows, int64_t k) { order(x, y, rows, k); }

#if defined(__x86_64__)
EAGLE_WIDE static void order16(const float *x, float *y, int64_t rows, int64_t k) {
  for (int64_t m = 0; m < rows; m++, x += k, y += k) {
    for (int64_t i = 0; i + 32 <= k; i += 32) {
      lanes16 a = load16(x + i), b = load16(x + i + 16);
      *(lanes16_unaligned *)(y + i) =
          __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
      *(lanes16_unaligned *)(y + i + 16) =
          __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    }
    copy_rest(x, y, k / 32 * 32, k);
  }
}
#endif

void eagle_few_rows_order(int lanes, const float *x, float *y, int64_t rows, int64_t k) {
#if defined(__x86_64__)
  if (lanes == 16) return order16(x, y, rows, k);
#endif
  order8(x, y, rows, k);
}

// The weights lie in memory one after the other, but are read in several places at once, which the processor's own prefetch
// does not see through: so each block asks for bytes that lie a little further on.
enum { CHUNK_BYTES = 32768, AHEAD_BYTES = 12288 };

// Which part of k asks, and how far ahead. Where a chunk takes several passes they share out the asking for the next chunk,
// so that memory is never idle.
typedef struct {
  int64_t begin, end, bytes;
} k_range;

// `rows` and `outputs` are compile-time constants in every call, so that sums, weights and one x are in registers: 16 of them in
// AVX2, 32 in AVX-512. Eight to ten sums keep both multipliers busy without waiting for one another.
#define DEFINE_BLOCK(name, inlined, vector, width, load, sum_all, type, first, second, scalar)                     \
  inlined void name(const int rows, const int outputs, k_range asking, const float *x, int64_t k, const type *w,   \
                    const float *bias, float *y, int64_t y_stride) {                                               \
    vector sum[8][4], weight[4];                                                                                   \
    for (int m = 0; m < rows; m++)                                                                                 \
      for (int n = 0; n < outputs; n++) sum[m][n] = (vector){0};                                                   \
    const char *ahead = (const char *)w + asking.bytes;                                                            \
    int64_t i = 0;                                                                                                 \
    for (; i + 2 * width <= k; i += 2 * width) {                                                                   \
      if (i >= asking.begin && i < asking.end)                                                                     \
        for (int j = 0; j < 2 * width * outputs * (int)sizeof(type); j += 64)                                      \
          __builtin_prefetch(ahead + i * outputs * sizeof(type) + j);                                              \
      for (int n = 0; n < outputs; n++) weight[n] = first(w + n * k + i);                                          \
      for (int m = 0; m < rows; m++)                                                                               \
        for (int n = 0; n < outputs; n++) sum[m][n] += load(x + m * k + i) * weight[n];                            \
      for (int n = 0; n < outputs; n++) weight[n] = second(w + n * k + i);                                         \
      for (int m = 0; m < rows; m++)                                                                               \
        for (int n = 0; n < outputs; n++) sum[m][n] += load(x + m * k + i + width) * weight[n];                    \
    }                                                                                                              \
    for (int m = 0; m < rows; m++)                                                                                 \
      for (int n = 0; n < outputs; n++) {                                                                          \
        float total = sum_all(sum[m][n]);                                                                          \
        for (int64_t j = i; j < k; j++) total += x[m * k + j] * scalar(w[n * k + j]);                              \
        y[m * y_stride + n] = total + (bias ? bias[n] : 0.0f);                                                     \
      }                                                                                                            \
  }

// As many rows as registers allow go in one pass and stay in the first cache. More take several; the later ones find the chunk of
// weights in the second cache. `taken` says how many of those that are left the next pass takes, at most `most`; o1 to o8 are
// how many outputs a pass of so many rows has in flight.
#define DEFINE_FEW_ROWS(name, inlined, attributes, type, block, most, taken, o1, o2, o3, o4, o5, o6, o7, o8)       \
  inlined void name##_pass(const int rows, const int outputs, k_range asking, const float *x, int64_t k,           \
                           const type *w, const float *bias, float *y, int64_t y_stride, int64_t n_begin,          \
                           int64_t n_end) {                                                                        \
    int64_t n = n_begin;                                                                                           \
    for (; n + outputs <= n_end; n += outputs)                                                                     \
      block(rows, outputs, asking, x, k, w + n * k, bias ? bias + n : 0, y + n, y_stride);                         \
    for (; n < n_end; n++) block(rows, 1, asking, x, k, w + n * k, bias ? bias + n : 0, y + n, y_stride);          \
  }                                                                                                                \
  attributes static void name(const float *x, int64_t rows, int64_t k, const type *w, const float *bias, float *y, \
                              int64_t y_stride, int64_t n_begin, int64_t n_end) {                                  \
    int64_t chunk = few_rows_chunk(k * sizeof(type)), passes = (rows + most - 1) / most;                           \
    for (int64_t n = n_begin; n < n_end; n += chunk) {                                                             \
      int64_t end = n + chunk < n_end ? n + chunk : n_end, m = 0;                                                  \
      for (int64_t pass = 0; m < rows; pass++) {                                                                   \
        k_range asking = {k * pass / passes, k * (pass + 1) / passes, AHEAD_BYTES};                                \
        if (passes > 1) asking.bytes = chunk * k * (int64_t)sizeof(type);                                          \
        const float *xm = x + m * k;                                                                               \
        float *ym = y + m * y_stride;                                                                              \
        int64_t count = taken(rows - m);                                                                           \
        if (count == 1) name##_pass(1, o1, asking, xm, k, w, bias, ym, y_stride, n, end);                          \
        if (count == 2) name##_pass(2, o2, asking, xm, k, w, bias, ym, y_stride, n, end);                          \
        if (count == 3) name##_pass(3, o3, asking, xm, k, w, bias, ym, y_stride, n, end);                          \
        if (count == 4) name##_pass(4, o4, asking, xm, k, w, bias, ym, y_stride, n, end);                          \
        if (count == 5) name##_pass(5, o5, asking, xm, k, w, bias, ym, y_stride, n, end);                          \
        if (most > 5 && count == 6) name##_pass(6, o6, asking, xm, k, w, bias, ym, y_stride, n, end);              \
        if (most > 5 && count == 7) name##_pass(7, o7, asking, xm, k, w, bias, ym, y_stride, n, end);              \
        if (most > 5 && count == 8) name##_pass(8, o8, asking, xm, k, w, bias, ym, y_stride, n, end);              \
        m += count;                                                                                                \
      }                                                                                                            \
    }                                                                                                              \
  }

// Outputs whose weights, of `bytes` each, about fill a chunk; a multiple of all widths of a pass.
EAGLE_INLINE int64_t few_rows_chunk(int64_t bytes) {
  int64_t outputs = CHUNK_BYTES / (bytes + 1) / 12 * 12;
  return outputs < 12 ? 12 : outputs;
}

EAGLE_INLINE int64_t of_five(int64_t left) { return left <= 5 ? left : left == 6 ? 3 : 5; }
EAGLE_INLINE int64_t of_eight(int64_t left) { return left <= 8 ? left : left < 12 ? (left + 1) / 2 : 8; }

DEFINE_BLOCK(block8_bf16, EAGLE_INLINE, lanes, 8, load, sum_lanes, uint16_t, first_bf16, second_bf16, scalar_bf16)
DEFINE_BLOCK(block8_f32, EAGLE_INLINE, lanes, 8, load, sum_lanes, float, first_f32, second_f32, scalar_f32)
DEFINE_FEW_ROWS(few_rows8_bf16, EAGLE_INLINE, EAGLE_DISPATCHED, uint16_t, block8_bf16, 5, of_five, 4, 3, 3, 2, 2, 1, 1, 1)
DEFINE_FEW_ROWS(few_rows8_f32, EAGLE_INLINE, EAGLE_DISPATCHED, float, block8_f32, 5, of_five, 4, 3, 3, 2, 2, 1, 1, 1)
#if defined(__x86_64__)
DEFINE_BLOCK(block16_bf16, INLINE_WIDE, lanes16, 16, load16, sum_lanes16, uint16_t, first16_bf16, second16_bf16,
             scalar_bf16)
DEFINE_BLOCK(block16_f32, INLINE_WIDE, lanes16, 16, load16, sum_lanes16, float, first16_f32, second16_f32, scalar_f32)
DEFINE_FEW_ROWS(few_rows16_bf16, INLINE_WIDE, EAGLE_WIDE, uint16_t, block16_bf16, 8, of_eight, 4, 4, 4, 4, 3, 2, 2, 2)
DEFINE_FEW_ROWS(few_rows16_f32, INLINE_WIDE, EAGLE_WIDE, float, block16_f32, 8, of_eight, 4, 4, 4, 4, 3, 2, 2, 2)
#define CHOOSE(type, ...) \
  return lanes == 16 ? few_rows16_##type(__VA_ARGS__) : few_rows8_##type(__VA_ARGS__)
#else
#define CHOOSE(type, ...) return few_rows8_##type(__VA_ARGS__)
#endif

int eagle_few_rows_lanes(void) { return eagle_cpu_has_avx512() ? 16 : 8; }

void eagle_few_rows_bf16(int lanes, const float *x, int64_t rows, int64_t k, const uint16_t *w, const float *bias,
                         float *y, int64_t y_stride, int64_t n_begin, int64_t n_end) {
  CHOOSE(bf16, x, rows, k, w, bias, y, y_stride, n_begin, n_end);
}

void eagle_few_rows_f32(int lanes, const float *x, int64_t rows, int64_t k, const float *w, const float *bias, float *y,
                        int64_t y_stride, int64_t n_begin, int64_t n_end) {
  CHOOSE(f32, x, rows, k, w, bias, y, y_stride, n_begin, n_end);
}
