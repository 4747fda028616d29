// The block of the variants with rows rounded to bfloat16, for AVX512-BF16: a lane adds the products of a pair of
// neighbours at a time, half as many multiplications, and a vector that is not full is padded with 0. A variant's file
// includes it once, after
//
//   #define MAX_K ...  the largest k

#include <immintrin.h>

#define INLINE EAGLE_INLINE_AVX512_BF16
#define ATTRIBUTES EAGLE_AVX512_BF16
#define VECTOR f32x16
#define ELEMENT uint16_t
#define WEIGHT uint16_t
#define PASS_ROWS 9
#define OUTPUT_DISTANCE ROUNDED_OUTPUT_PREFETCH_BYTES

enum { PAIRS = ROUNDED_GROUP };  // elements of a vector

#define ROW_OFFSET(a, m) ((m) * PAIRS)

INLINE f32x16 add_pairs(f32x16 sum, __m512i x, __m512i w) {
  return (f32x16)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)w);
}

/// No block of one row, or of up to LONG_K values an output, prefetches within its outputs: the plan has no distance
/// there, and with that known at compile time one row takes an eighth less time.
INLINE void prefetch(const int rows, const int outputs, prefetch_source from, int64_t k, int64_t i) {
  int64_t distance = from.plan.output_distance;
  if (rows > 1 && MAX_K > LONG_K && distance) {
    const uint16_t *next = (const uint16_t *)(i + distance < from.end ? from.w : from.beyond) + i + distance;
    for (int n = 0; n < outputs; n++) EAGLE_PREFETCH(next + n * k);
  } else if (i >= from.plan.begin && i < from.plan.end) {
    for (int n = 0; n < outputs; n++)
      EAGLE_PREFETCH(from.ahead + (i * outputs + n * PAIRS) * (int64_t)sizeof(uint16_t));
  }
}

/// sum[m][n] += x[m] w[n] of the range.
INLINE void add_products(const int rows, const int outputs, prefetch_plan plan, k_range range, f32x16 *sum,
                         eagle_small_matmul a) {
  const uint16_t *x = a.x, *w = a.w;
  __m512i weight[MAX_OUTPUTS];
  prefetch_source source = {plan, w, (const uint16_t *)range.next - range.end, (const char *)w + plan.bytes, range.end};
  int64_t k = a.k, i = range.begin;
  for (; i + PAIRS <= range.end; i += PAIRS) {
    prefetch(rows, outputs, source, k, i);
    for (int n = 0; n < outputs; n++) weight[n] = _mm512_loadu_si512(w + n * k + i);
    for (int m = 0; m < rows; m++) {
      __m512i row = _mm512_loadu_si512(x + i * a.rows + m * PAIRS);
      for (int n = 0; n < outputs; n++) sum[m * outputs + n] = add_pairs(sum[m * outputs + n], row, weight[n]);
    }
  }
  if (i < range.end) {
    __mmask32 tail = (1u << (range.end - i)) - 1;
    for (int j = 0; j < rows * outputs; j++) {
      __m512i row = _mm512_loadu_si512(x + i * a.rows + j / outputs * PAIRS);
      sum[j] = add_pairs(sum[j], row, _mm512_maskz_loadu_epi16(tail, w + j % outputs * k + i));
    }
  }
}

/// A range of k. It begins with the partial sums of the range before; the last range writes y.
INLINE void block(const int rows, const int outputs, prefetch_plan plan, k_range range, f32x16 *partial,
                  eagle_small_matmul a) {
  f32x16 sum[MAX_SUMS];
  for (int j = 0; j < rows * outputs; j++) sum[j] = range.begin ? partial[j] : (f32x16){0};
  add_products(rows, outputs, plan, range, sum, a);
  if (range.end < a.k) {
    for (int j = 0; j < rows * outputs; j++) partial[j] = sum[j];
    return;
  }
  float totals[MAX_TOTALS];
  sum_lanes16(rows * outputs, sum, totals);
  store_totals(rows, outputs, totals, &a);
}
