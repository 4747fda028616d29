#include "include/CEagleKernels.h"

#include <stdlib.h>
#include <string.h>
#include "lanes.h"

// y[m][n] = sum_k x[m][k] w[n][k], for few m: every weight comes from memory once and serves all rows.
//
// Values of k are taken in two vectors at a time; a lane of an accumulator adds the products that fall on it, in the order of k.
// Then the lanes are added in halves and the tail of k one by one. That order is the same whatever the number of rows and of
// outputs that are in flight, which makes decoding independent of the batch. It does depend on the width of a vector: eight lanes,
// or sixteen where the processor has them.

typedef uint32_t words __attribute__((vector_size(32)));
typedef uint32_t words_unaligned __attribute__((vector_size(32), aligned(2)));
typedef uint32_t words16 __attribute__((vector_size(64)));
typedef uint32_t words16_unaligned __attribute__((vector_size(64), aligned(2)));

#if defined(__x86_64__)
#include <immintrin.h>
#define EAGLE_WIDE __attribute__((target("arch=x86-64-v4"))) EAGLE_WIDE_VECTORS
#define INLINE_WIDE EAGLE_WIDE EAGLE_INLINE
#define EAGLE_PAIRS __attribute__((target("arch=x86-64-v4,avx512bf16"))) EAGLE_WIDE_VECTORS
#define INLINE_PAIRS EAGLE_PAIRS EAGLE_INLINE
#endif

EAGLE_INLINE lanes first_f32(const float *p) { return load(p); }
EAGLE_INLINE lanes second_f32(const float *p) { return load(p + 8); }
EAGLE_INLINE void sum_all8(int count, const lanes *v, float *totals) {
  for (int i = 0; i < count; i++) totals[i] = sum_lanes(v[i]);
}

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

// totals[i] = the sum of v[i], whose lanes are added in halves, for up to sixteen vectors together: each step puts the halves of two
// vectors side by side. Overwrites v.
#define PAIR16(pairs, first, second)                                                               \
  for (int i = 0; i < (pairs); i++) {                                                              \
    lanes16 a = v[2 * i], b = 2 * i + 1 < left ? v[2 * i + 1] : a;                                 \
    v[i] = __builtin_shufflevector(a, b, first) + __builtin_shufflevector(a, b, second);           \
  }                                                                                                \
  left = (pairs)
#define LIST(...) __VA_ARGS__

INLINE_WIDE void sum_all16(int left, lanes16 *v, float *totals) {
  PAIR16((left + 1) / 2, LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
         LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
  PAIR16((left + 1) / 2, LIST(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27),
         LIST(4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31));
  PAIR16((left + 1) / 2, LIST(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29),
         LIST(2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31));
  PAIR16((left + 1) / 2, LIST(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
         LIST(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
  *(lanes16_unaligned *)totals = v[0];
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
// does not see through: so each block asks for bytes that lie a little further on. Where a block of several outputs is longer than
// that, several rows ask for what comes next in each of them; one row asks in the order of memory, a block ahead.
//
// Rows of x that would drive the weights out of the first cache go in parts of k: all outputs of a chunk take one part, then the next,
// with their sums kept meanwhile. They ask for what comes next in each output too.
enum {
  CHUNK_BYTES = 16384,
  AHEAD_BYTES = 12288,
  PAST_BLOCK_BYTES = 4096,
  BESIDE_BYTES = 1536,
  BESIDE_PAIRS_BYTES = 2048,  // for rounded rows, which take half the time
  X_BYTES = 32768,
  LONG = 2048,                // values of k
  LEAST_CHUNK = 12,           // outputs: a multiple of all widths of a pass
  MOST_ROWS = 8,              // of a pass
};

// Which part of k asks, and for what. Where a chunk takes several passes they share out the asking for the next chunk, so that
// memory is never idle.
typedef struct {
  int64_t begin, end;
  int64_t bytes;   // how far ahead in the order of memory
  int64_t beside;  // where it is not 0: how many values ahead in the same output
} asking_range;

// A part of k, and where the weights lie that come when it is done.
typedef struct {
  int64_t begin, end;
  const void *after;
} part_of_k;

EAGLE_INLINE void put_totals(const int rows, const int outputs, const float *totals, const float *bias, float *y,
                             int64_t y_stride) {
  for (int n = 0; n < outputs; n++) {
    float added = bias ? bias[n] : 0.0f;
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) y[m * y_stride + n] = totals[m * outputs + n] + added;
  }
}

// `rows` and `outputs` are compile-time constants in every call, so that sums, weights and one x are in registers: 16 of them in
// AVX2, 32 in AVX-512. Eight to ten sums keep both multipliers busy without waiting for one another.
#define DEFINE_BLOCK(name, inlined, vector, width, load, sum_all, type, first, second, scalar)                         \
  inlined void name(const int rows, const int outputs, asking_range asking, part_of_k part, vector *kept,              \
                    const float *x, int64_t k, const type *w, const float *bias, float *y, int64_t y_stride) {         \
    vector sum[16], weight[4];                                                                                         \
    for (int j = 0; j < rows * outputs; j++) sum[j] = part.begin ? kept[j] : (vector){0};                              \
    const char *ahead = (const char *)w + asking.bytes;                                                                \
    const type *beyond = (const type *)part.after - part.end;                                                          \
    int64_t i = part.begin;                                                                                            \
    for (; i + 2 * width <= part.end; i += 2 * width) {                                                                \
      if (asking.beside) {                                                                                             \
        const type *next = (i + asking.beside < part.end ? w : beyond) + i + asking.beside;                            \
        for (int n = 0; n < outputs; n++)                                                                              \
          for (int j = 0; j < 2 * width; j += 64 / (int)sizeof(type)) __builtin_prefetch(next + n * k + j);            \
      } else if (i >= asking.begin && i < asking.end) {                                                                \
        for (int j = 0; j < 2 * width * outputs * (int)sizeof(type); j += 64)                                          \
          __builtin_prefetch(ahead + i * outputs * sizeof(type) + j);                                                  \
      }                                                                                                                \
      for (int n = 0; n < outputs; n++) weight[n] = first(w + n * k + i);                                              \
      for (int m = 0; m < rows; m++)                                                                                   \
        for (int n = 0; n < outputs; n++) sum[m * outputs + n] += load(x + m * k + i) * weight[n];                     \
      for (int n = 0; n < outputs; n++) weight[n] = second(w + n * k + i);                                             \
      for (int m = 0; m < rows; m++)                                                                                   \
        for (int n = 0; n < outputs; n++) sum[m * outputs + n] += load(x + m * k + i + width) * weight[n];             \
    }                                                                                                                  \
    if (part.end < k) {                                                                                                \
      for (int j = 0; j < rows * outputs; j++) kept[j] = sum[j];                                                       \
      return;                                                                                                          \
    }                                                                                                                  \
    float totals[16];                                                                                                  \
    sum_all(rows * outputs, sum, totals);                                                                              \
    if (i < k)                                                                                                         \
      for (int j = 0; j < rows * outputs; j++)                                                                         \
        for (int64_t p = i; p < k; p++) totals[j] += x[j / outputs * k + p] * scalar(w[j % outputs * k + p]);          \
    put_totals(rows, outputs, totals, bias, y, y_stride);                                                              \
  }

// As many rows as registers allow go in one pass. More take several; the later ones find the chunk of weights in the second cache.
// `most` rows go in a pass; o1 to o8 are how many outputs a pass of so many rows has in flight. One row, and rounded ones, have as few as
// their sums allow, since memory serves a single stream best.
#define DEFINE_FEW_ROWS(name, inlined, attributes, vector, number, type, block, most, o1, o2, o3, o4, o5, o6, o7, o8)  \
  inlined void name##_pass(const int rows, const int outputs, asking_range asking, const number *x, int64_t k,         \
                           const type *w, const float *bias, float *y, int64_t y_stride, int64_t n_begin,              \
                           int64_t n_end) {                                                                            \
    vector sums[LEAST_CHUNK * MOST_ROWS];                                                                              \
    int64_t depth = few_rows_depth(rows, k, sizeof(number));                                                           \
    for (part_of_k part = {0}; part.begin < k; part.begin = part.end) {                                                \
      part.end = part.begin + depth + depth / 2 < k ? part.begin + depth : k;                                          \
      int64_t n = n_begin;                                                                                             \
      const type *again = part.end < k ? w + n_begin * k + part.end : w + n_end * k;                                   \
      for (; n + outputs <= n_end; n += outputs) {                                                                     \
        part.after = n + outputs < n_end ? w + (n + outputs) * k + part.begin : again;                                 \
        block(rows, outputs, asking, part, sums + (depth < k ? (n - n_begin) * rows : 0), x, k, w + n * k,             \
              bias ? bias + n : 0, y + n, y_stride);                                                                   \
      }                                                                                                                \
      for (; n < n_end; n++) {                                                                                         \
        part.after = n + 1 < n_end ? w + (n + 1) * k + part.begin : again;                                             \
        block(rows, 1, asking, part, sums + (depth < k ? (n - n_begin) * rows : 0), x, k, w + n * k,                   \
              bias ? bias + n : 0, y + n, y_stride);                                                                   \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  attributes static void name(const number *x, int64_t rows, int64_t k, const type *w, const float *bias, float *y,    \
                              int64_t y_stride, int64_t n_begin, int64_t n_end) {                                      \
    const int64_t in_flight[] = {0, o1, o2, o3, o4, o5, o6, o7, o8};                                                   \
    int64_t chunk = few_rows_chunk(k * sizeof(type)), passes = (rows + most - 1) / most;                               \
    for (int64_t n = n_begin; n < n_end; n += chunk) {                                                                 \
      int64_t end = n + chunk < n_end ? n + chunk : n_end, m = 0;                                                      \
      for (int64_t pass = 0, count; m < rows; pass++, m += count) {                                                    \
        count = rows * (pass + 1) / passes - m;                                                                        \
        int64_t block_bytes = in_flight[count] * k * sizeof(type);                                                     \
        int in_parts = few_rows_depth(count, k, sizeof(number)) < k;                                                   \
        int is_long = in_parts || (in_flight[count] > 1 && block_bytes > AHEAD_BYTES);                                 \
        asking_range asking = {k * pass / passes, k * (pass + 1) / passes, AHEAD_BYTES, 0};                            \
        if (passes > 1) asking.bytes = chunk * k * (int64_t)sizeof(type);                                              \
        else if (is_long && count == 1) asking.bytes = block_bytes + PAST_BLOCK_BYTES;                                 \
        else if (is_long)                                                                                              \
          asking.beside = (sizeof(number) == 2 ? BESIDE_PAIRS_BYTES : BESIDE_BYTES) / (int64_t)sizeof(type);           \
        const number *xm = x + m * k;                                                                                  \
        float *ym = y + m * y_stride;                                                                                  \
        if (count == 1) name##_pass(1, o1, asking, xm, k, w, bias, ym, y_stride, n, end);                              \
        if (count == 2) name##_pass(2, o2, asking, xm, k, w, bias, ym, y_stride, n, end);                              \
        if (count == 3) name##_pass(3, o3, asking, xm, k, w, bias, ym, y_stride, n, end);                              \
        if (count == 4) name##_pass(4, o4, asking, xm, k, w, bias, ym, y_stride, n, end);                              \
        if (count == 5) name##_pass(5, o5, asking, xm, k, w, bias, ym, y_stride, n, end);                              \
        if (most > 5 && count == 6) name##_pass(6, o6, asking, xm, k, w, bias, ym, y_stride, n, end);                  \
        if (most > 5 && count == 7) name##_pass(7, o7, asking, xm, k, w, bias, ym, y_stride, n, end);                  \
        if (most > 5 && count == 8) name##_pass(8, o8, asking, xm, k, w, bias, ym, y_stride, n, end);                  \
      }                                                                                                                \
    }                                                                                                                  \
  }

// Outputs whose weights, of `bytes` each, about fill a chunk.
EAGLE_INLINE int64_t few_rows_chunk(int64_t bytes) {
  int64_t outputs = CHUNK_BYTES / (bytes + 1) / LEAST_CHUNK * LEAST_CHUNK;
  return outputs < LEAST_CHUNK ? LEAST_CHUNK : outputs;
}

// Values of k that go at a time, `bytes` each. Where it is not all of them a chunk has the least number of outputs. One row, or up to
// three rounded ones, come from the second cache in time.
EAGLE_INLINE int64_t few_rows_depth(int64_t rows, int64_t k, int64_t bytes) {
  return rows * bytes <= 6 || rows * k * bytes <= X_BYTES ? k : (rows <= 5 ? 4096 : 2048) / bytes;
}

DEFINE_BLOCK(block8_bf16, EAGLE_INLINE, lanes, 8, load, sum_all8, uint16_t, first_bf16, second_bf16, scalar_bf16)
DEFINE_BLOCK(block8_f32, EAGLE_INLINE, lanes, 8, load, sum_all8, float, first_f32, second_f32, scalar_f32)
DEFINE_FEW_ROWS(few_rows8_bf16, EAGLE_INLINE, EAGLE_DISPATCHED, lanes, float, uint16_t,
                block8_bf16, 5, 4, 3, 3, 2, 2, 1, 1, 1)
DEFINE_FEW_ROWS(few_rows8_f32, EAGLE_INLINE, EAGLE_DISPATCHED, lanes, float, float,
                block8_f32, 5, 4, 3, 3, 2, 2, 1, 1, 1)
#if defined(__x86_64__)
// The same of x rounded to bf16: a lane adds the products of a pair of neighbours at a time, half as many multiplications, and what
// does not fill a vector is filled up with 0.
INLINE_PAIRS void block_pairs(const int rows, const int outputs, asking_range asking, part_of_k part, lanes16 *kept,
                              const uint16_t *x, int64_t k, const uint16_t *w, const float *bias, float *y,
                              int64_t y_stride) {
  lanes16 sum[16];
  __m512bh weight[4];
  for (int j = 0; j < rows * outputs; j++) sum[j] = part.begin ? kept[j] : (lanes16){0};
  const char *ahead = (const char *)w + asking.bytes;
  const uint16_t *beyond = (const uint16_t *)part.after - part.end;
  int64_t i = part.begin;
  for (; i + 32 <= part.end; i += 32) {
    if (asking.beside) {
      const uint16_t *next = (i + asking.beside < part.end ? w : beyond) + i + asking.beside;
      for (int n = 0; n < outputs; n++) __builtin_prefetch(next + n * k);
    } else if (i >= asking.begin && i < asking.end) {
      for (int n = 0; n < outputs; n++) __builtin_prefetch(ahead + (i * outputs + n * 32) * sizeof(*w));
    }
    for (int n = 0; n < outputs; n++) weight[n] = (__m512bh)_mm512_loadu_si512(w + n * k + i);
    for (int m = 0; m < rows; m++) {
      __m512bh pairs = (__m512bh)_mm512_loadu_si512(x + m * k + i);
      for (int n = 0; n < outputs; n++)
        sum[m * outputs + n] = (lanes16)_mm512_dpbf16_ps((__m512)sum[m * outputs + n], pairs, weight[n]);
    }
  }
  if (i < part.end) {
    __mmask32 rest = (1u << (part.end - i)) - 1;
    for (int j = 0; j < rows * outputs; j++) {
      __m512bh pairs = (__m512bh)_mm512_maskz_loadu_epi16(rest, x + j / outputs * k + i);
      __m512bh last = (__m512bh)_mm512_maskz_loadu_epi16(rest, w + j % outputs * k + i);
      sum[j] = (lanes16)_mm512_dpbf16_ps((__m512)sum[j], pairs, last);
    }
  }
  if (part.end < k) {
    for (int j = 0; j < rows * outputs; j++) kept[j] = sum[j];
    return;
  }
  float totals[16];
  sum_all16(rows * outputs, sum, totals);
  put_totals(rows, outputs, totals, bias, y, y_stride);
}

DEFINE_BLOCK(block16_bf16, INLINE_WIDE, lanes16, 16, load16, sum_all16, uint16_t, first16_bf16, second16_bf16,
             scalar_bf16)
DEFINE_BLOCK(block16_f32, INLINE_WIDE, lanes16, 16, load16, sum_all16, float, first16_f32, second16_f32, scalar_f32)
DEFINE_FEW_ROWS(few_rows16_bf16, INLINE_WIDE, EAGLE_WIDE, lanes16, float, uint16_t,
                block16_bf16, 8, 1, 2, 2, 4, 3, 2, 2, 2)
DEFINE_FEW_ROWS(few_rows16_f32, INLINE_WIDE, EAGLE_WIDE, lanes16, float, float, block16_f32, 8, 1, 2, 2, 4, 3, 2, 2, 2)
DEFINE_FEW_ROWS(few_rows_pairs, INLINE_PAIRS, EAGLE_PAIRS, lanes16, uint16_t, uint16_t,
                block_pairs, 8, 1, 1, 1, 1, 1, 1, 2, 2)
// Sums of long weights are too long for the next output to begin meanwhile.
DEFINE_FEW_ROWS(few_rows_long_pairs, INLINE_PAIRS, EAGLE_PAIRS, lanes16, uint16_t, uint16_t,
                block_pairs, 8, 1, 1, 2, 2, 2, 2, 2, 2)
#define CHOOSE(type, ...)                                                                                          \
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

void eagle_few_rows_bf16_pairs(const uint16_t *x, int64_t rows, int64_t k, const uint16_t *w, const float *bias,
                               float *y, int64_t y_stride, int64_t n_begin, int64_t n_end) {
#if defined(__x86_64__)
  if (k > LONG) return few_rows_long_pairs(x, rows, k, w, bias, y, y_stride, n_begin, n_end);
  few_rows_pairs(x, rows, k, w, bias, y, y_stride, n_begin, n_end);
#else
  abort();
#endif
}
