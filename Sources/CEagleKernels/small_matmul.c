#include "blocks.h"
#include "small_matmul.h"

// The small-M matmul y[m][n] = sum_k x[m][k] w[n][k], for few m: every weight comes from memory once and serves all
// rows.
//
// The order of additions is a specification. Values of k are taken in two vectors at a time; a lane of an accumulator
// adds the products that fall on it, in the order of k. Then the lanes are added in halves and the tail of k one by
// one. That order is the same whatever the number of rows and of outputs in flight, which makes decoding independent of
// the batch. It does depend on the number of lanes: eight, or sixteen where the processor has them.
//
// The plain form below is that specification; the tuned variants, a file each, give its bits.

// MARK: the plain form

/// The index, from a pair of vectors on, of the value that a lane multiplies first and second: bfloat16 weights are
/// split into even and odd ones.
EAGLE_INLINE int64_t index_of(int lane, int is_second, int lanes, int is_bf16) {
  return is_bf16 ? 2 * lane + is_second : lane + is_second * lanes;
}

EAGLE_INLINE float weight_at(const eagle_small_matmul *a, eagle_weight_type type, int64_t i) {
  switch (type) {
    case EAGLE_WEIGHTS_BF16: return widen_bf16(((const uint16_t *)a->w)[i]);
    case EAGLE_WEIGHTS_F16: return widen_f16(((const float16 *)a->w)[i]);
    default: return ((const float *)a->w)[i];
  }
}

EAGLE_INLINE float sum_in_halves(float *sum, int lanes) {
  for (int width = lanes / 2; width > 0; width /= 2)
    for (int j = 0; j < width; j++) sum[j] += sum[j + width];
  return sum[0];
}

EAGLE_INLINE float plain_element(int lanes, eagle_weight_type type, const eagle_small_matmul *a, int64_t m,
                                 int64_t n) {
  const float *x = (const float *)a->x + m * a->k;
  float sum[16] = {0};
  int64_t i = 0;
  for (; i + 2 * lanes <= a->k; i += 2 * lanes)
    for (int second = 0; second < 2; second++)
      for (int j = 0; j < lanes; j++) {
        int64_t p = i + index_of(j, second, lanes, type == EAGLE_WEIGHTS_BF16);
        sum[j] += x[p] * weight_at(a, type, n * a->k + p);
      }
  float total = sum_in_halves(sum, lanes);
  for (; i < a->k; i++) total += x[i] * weight_at(a, type, n * a->k + i);
  return total + (a->bias ? a->bias[n] : 0.0f);
}

EAGLE_DISPATCHED
void eagle_small_matmul_plain(int lanes, eagle_weight_type type, const eagle_small_matmul *a, int64_t begin,
                              int64_t end) {
  for (int64_t n = begin; n < end; n++)
    for (int64_t m = 0; m < a->rows; m++)
      a->y[m * a->y_stride + n] = plain_element(lanes, type, a, m, n);
}

/// The same of rows rounded to bfloat16: a lane of sixteen adds the products of a pair of neighbours, the odd one
/// first, as the instruction does.
EAGLE_INLINE float plain_rounded_element(const uint16_t *x, const uint16_t *w, int64_t k) {
  float sum[16] = {0};
  for (int64_t i = 0; i < k; i += 2) {
    int lane = i / 2 % 16;
    if (i + 1 < k) sum[lane] += widen_bf16(x[i + 1]) * widen_bf16(w[i + 1]);
    sum[lane] += widen_bf16(x[i]) * widen_bf16(w[i]);
  }
  return sum_in_halves(sum, 16);
}

EAGLE_DISPATCHED
void eagle_small_matmul_rounded_plain(const eagle_small_matmul *a, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; n++)
    for (int64_t m = 0; m < a->rows; m++) {
      const uint16_t *x = (const uint16_t *)a->x + m * a->k, *w = (const uint16_t *)a->w + n * a->k;
      a->y[m * a->y_stride + n] = plain_rounded_element(x, w, a->k) + (a->bias ? a->bias[n] : 0.0f);
    }
}

// MARK: the order of x for bfloat16 weights

EAGLE_INLINE void copy_tail(const float *x, float *y, int64_t from, int64_t k) {
  for (int64_t i = from; i < k; i++) y[i] = x[i];
}

EAGLE_INLINE void deinterleave_row8(const float *x, float *y, int64_t k) {
  for (int64_t i = 0; i + 16 <= k; i += 16) {
    f32x8 a = load8(x + i), b = load8(x + i + 8);
    *(f32x8_unaligned *)(y + i) = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    *(f32x8_unaligned *)(y + i + 8) = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  }
  copy_tail(x, y, k / 16 * 16, k);
}

EAGLE_DISPATCHED
static void deinterleave8(const float *x, float *y, int64_t rows, int64_t k) {
  for (int64_t m = 0; m < rows; m++) deinterleave_row8(x + m * k, y + m * k, k);
}

#if defined(__x86_64__)
EAGLE_INLINE_AVX512 void deinterleave_row16(const float *x, float *y, int64_t k) {
  for (int64_t i = 0; i + 32 <= k; i += 32) {
    f32x16 a = load16(x + i), b = load16(x + i + 16);
    *(f32x16_unaligned *)(y + i) =
        __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *(f32x16_unaligned *)(y + i + 16) =
        __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  }
  copy_tail(x, y, k / 32 * 32, k);
}

EAGLE_AVX512 static void deinterleave16(const float *x, float *y, int64_t rows, int64_t k) {
  for (int64_t m = 0; m < rows; m++) deinterleave_row16(x + m * k, y + m * k, k);
}
#endif

void eagle_deinterleave(int lanes, const float *x, float *y, int64_t rows, int64_t k) {
#if defined(__x86_64__)
  if (lanes == 16) return deinterleave16(x, y, rows, k);
#endif
  deinterleave8(x, y, rows, k);
}

// MARK: rows rounded to bfloat16

void eagle_round_row(const float *x, int64_t k, int64_t rows, int64_t m, void *groups) {
  for (int64_t i = 0; i < k; i += ROUNDED_GROUP) {
    uint16_t *group = (uint16_t *)groups + i * rows + m * ROUNDED_GROUP;
    int64_t count = k - i < ROUNDED_GROUP ? k - i : ROUNDED_GROUP;
    eagle_f32_to_bf16(x + i, group, count);
    memset(group + count, 0, (ROUNDED_GROUP - count) * sizeof *group);
  }
}

int64_t eagle_rounded_bytes(int64_t rows, int64_t k) {
  return rows * ((k + ROUNDED_GROUP - 1) / ROUNDED_GROUP) * (int64_t)(ROUNDED_GROUP * sizeof(uint16_t));
}

// MARK: the choice of a variant

int eagle_small_matmul_lanes(void) { return eagle_cpu_has_avx512() ? 16 : 8; }

void eagle_small_matmul_f32(int lanes, const eagle_small_matmul *a, int64_t begin, int64_t end) {
#if defined(__x86_64__)
  if (lanes == 16) return eagle_small_matmul_f32x16(a, begin, end);
#endif
  eagle_small_matmul_f32x8(a, begin, end);
}

void eagle_small_matmul_f16(int lanes, const eagle_small_matmul *a, int64_t begin, int64_t end) {
#if defined(__x86_64__)
  if (lanes == 16) return eagle_small_matmul_f16x16(a, begin, end);
#endif
  eagle_small_matmul_f16x8(a, begin, end);
}

void eagle_small_matmul_bf16(int lanes, const eagle_small_matmul *a, int64_t begin, int64_t end) {
#if defined(__x86_64__)
  if (lanes == 16) return eagle_small_matmul_bf16x16(a, begin, end);
#endif
  eagle_small_matmul_bf16x8(a, begin, end);
}

void eagle_small_matmul_rounded(const eagle_small_matmul *a, int64_t begin, int64_t end) {
#if defined(__x86_64__)
  if (a->k > LONG_K) return eagle_small_matmul_rounded_long(a, begin, end);
  eagle_small_matmul_rounded_short(a, begin, end);
#else
  __builtin_trap();
#endif
}
