// The block of a variant with float32 rows: some rows by some outputs, whose sums stay in registers while k runs. A
// variant's file includes it once, after
//
//   #define LANES 8      elements of a vector: 8, or 16 for AVX-512
//   #define WEIGHTS F32  the type of weights: F32, BF16 or F16
//
// `rows` and `outputs` are compile-time constants in every call, so that sums, weights and one vector of x are in
// registers: 16 of them in AVX2, 32 in AVX-512. Eight to ten sums keep both multipliers busy without waiting for one
// another.

#define F32 1
#define BF16 2
#define F16 3

#if LANES == 16
#define VECTOR f32x16
#define WORDS u32x16_unaligned
#define INLINE EAGLE_INLINE_AVX512
#define LOAD(p) load16(p)
typedef uint32_t u32x16_unaligned __attribute__((vector_size(64), aligned(2)));
typedef _Float16 half_vector __attribute__((vector_size(32), aligned(2)));
#else
#define VECTOR f32x8
#define WORDS u32x8_unaligned
#define INLINE EAGLE_INLINE
#define LOAD(p) load8(p)
typedef uint32_t u32x8_unaligned __attribute__((vector_size(32), aligned(2)));
typedef _Float16 half_vector __attribute__((vector_size(16), aligned(2)));
#endif
#define ELEMENT float
#define ROW_OFFSET(a, m) ((m) * (a).k)

// The weights that meet the first and the second vector of x. Two bfloat16 weights share a word, the even one in its
// low half: so 2 * LANES of them are LANES even ones and LANES odd ones, and x is stored in that order too
// (eagle_deinterleave).
#if WEIGHTS == BF16
#define WEIGHT uint16_t
INLINE VECTOR first_weights(const uint16_t *w) { return (VECTOR)(*(const WORDS *)w << 16); }
INLINE VECTOR second_weights(const uint16_t *w) { return (VECTOR)(*(const WORDS *)w & 0xffff0000u); }
INLINE float widen(uint16_t weight) { return widen_bf16(weight); }
#elif WEIGHTS == F16
#define WEIGHT _Float16
INLINE VECTOR first_weights(const _Float16 *w) { return __builtin_convertvector(*(const half_vector *)w, VECTOR); }
INLINE VECTOR second_weights(const _Float16 *w) { return first_weights(w + LANES); }
INLINE float widen(_Float16 weight) { return weight; }
#else
#define WEIGHT float
INLINE VECTOR first_weights(const float *w) { return LOAD(w); }
INLINE VECTOR second_weights(const float *w) { return LOAD(w + LANES); }
INLINE float widen(float weight) { return weight; }
#endif

INLINE void sum_lanes(int count, VECTOR *sums, float *totals) {
#if LANES == 16
  sum_lanes16(count, sums, totals);
#else
  for (int i = 0; i < count; i++) totals[i] = sum_lanes8(sums[i]);
#endif
}

INLINE void prefetch(const int outputs, prefetch_plan plan, k_range range, const WEIGHT *w, int64_t k, int64_t i) {
  if (plan.output_distance) {
    const WEIGHT *beyond = (const WEIGHT *)range.next - range.end;
    const WEIGHT *next = (i + plan.output_distance < range.end ? w : beyond) + i + plan.output_distance;
    for (int n = 0; n < outputs; n++)
      for (int j = 0; j < 2 * LANES; j += 64 / (int)sizeof(WEIGHT)) EAGLE_PREFETCH(next + n * k + j);
  } else if (i >= plan.begin && i < plan.end) {
    const char *ahead = (const char *)w + plan.bytes;
    for (int j = 0; j < 2 * LANES * outputs * (int)sizeof(WEIGHT); j += 64)
      EAGLE_PREFETCH(ahead + i * outputs * sizeof(WEIGHT) + j);
  }
}

/// sum[m][n] += x[m] w[n] from i on, in whole pairs of vectors; returns where they end.
INLINE int64_t add_products(const int rows, const int outputs, prefetch_plan plan, k_range range, VECTOR *sum,
                            const eagle_small_matmul *a) {
  const float *x = a->x;
  const WEIGHT *w = a->w;
  VECTOR weight[MAX_OUTPUTS];
  int64_t k = a->k, i = range.begin;
  for (; i + 2 * LANES <= range.end; i += 2 * LANES) {
    prefetch(outputs, plan, range, w, k, i);
    for (int n = 0; n < outputs; n++) weight[n] = first_weights(w + n * k + i);
    for (int m = 0; m < rows; m++)
      for (int n = 0; n < outputs; n++) sum[m * outputs + n] += LOAD(x + m * k + i) * weight[n];
    for (int n = 0; n < outputs; n++) weight[n] = second_weights(w + n * k + i);
    for (int m = 0; m < rows; m++)
      for (int n = 0; n < outputs; n++) sum[m * outputs + n] += LOAD(x + m * k + i + LANES) * weight[n];
  }
  return i;
}

/// totals[m][n] += x[m] w[n] from i on, one by one.
INLINE void add_tail(const int rows, const int outputs, int64_t i, float *totals, const eagle_small_matmul *a) {
  const float *x = a->x;
  const WEIGHT *w = a->w;
  if (i < a->k)
    for (int j = 0; j < rows * outputs; j++)
      for (int64_t p = i; p < a->k; p++) totals[j] += x[j / outputs * a->k + p] * widen(w[j % outputs * a->k + p]);
}

/// A range of k. It begins with the partial sums of the range before; the last range writes y.
INLINE void block(const int rows, const int outputs, prefetch_plan plan, k_range range, VECTOR *partial,
                  eagle_small_matmul a) {
  VECTOR sum[MAX_SUMS];
  for (int j = 0; j < rows * outputs; j++) sum[j] = range.begin ? partial[j] : (VECTOR){0};
  int64_t i = add_products(rows, outputs, plan, range, sum, &a);
  if (range.end < a.k) {
    for (int j = 0; j < rows * outputs; j++) partial[j] = sum[j];
    return;
  }
  float totals[MAX_TOTALS];
  sum_lanes(rows * outputs, sum, totals);
  add_tail(rows, outputs, i, totals, &a);
  store_totals(rows, outputs, totals, &a);
}
