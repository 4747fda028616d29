#include "small_matmul_int8.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { L1_BYTES = 45056 };  // of x

#define EAGLE_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

/// sum[m][n] of `outputs` outputs from `first` on: 64 values of k at a time, in two vectors.
EAGLE_VNNI EAGLE_INLINE void sum_products(const int rows, const int outputs, const int8_operands *a, int64_t first,
                                       __m512i sum[][4]) {
  int64_t k = a->k, i = 0;
  const int8_t *w = a->w + first * k;
  for (int m = 0; m < rows; m++)
    for (int n = 0; n < outputs; n++) sum[m][n] = _mm512_setzero_si512();
  for (; i + 64 <= k; i += 64) {
    for (int n = 0; n < outputs; n++) __builtin_prefetch(w + a->distance + i * outputs + 64 * n);
    __m512i low[4], high[4];
    for (int n = 0; n < outputs; n++) {
      low[n] = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(w + n * k + i)));
      high[n] = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(w + n * k + i + 32)));
    }
    for (int m = 0; m < rows; m++) {
      const int16_t *x = a->x + m * k + i;
      __m512i x_low = _mm512_loadu_si512(x), x_high = _mm512_loadu_si512(x + 32);
      for (int n = 0; n < outputs; n++) {
        sum[m][n] = _mm512_dpwssd_epi32(sum[m][n], x_low, low[n]);
        sum[m][n] = _mm512_dpwssd_epi32(sum[m][n], x_high, high[n]);
      }
    }
  }
  for (; i < k; i += 32) {
    __mmask32 tail = k - i < 32 ? (1u << (k - i)) - 1 : ~0u;
    for (int n = 0; n < outputs; n++) {
      __m512i weight = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(tail, w + n * k + i));
      for (int m = 0; m < rows; m++)
        sum[m][n] = _mm512_dpwssd_epi32(sum[m][n], _mm512_maskz_loadu_epi16(tail, a->x + m * k + i), weight);
    }
  }
}

/// The sum of the lanes of each of four vectors.
EAGLE_VNNI EAGLE_INLINE __m128i sum_lanes(const __m512i v[4]) {
  __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/// Four outputs, or as many as there are, with `in_flight` of them at a time.
EAGLE_VNNI EAGLE_INLINE void four_outputs(const int rows, const int in_flight, const int8_operands *a, int64_t first,
                                          int count) {
  __m512i sum[8][4];
  if (count == 4) {
    for (int n = 0; n < 4; n += in_flight) {
      __m512i part[8][4];
      sum_products(rows, in_flight, a, first + n, part);
      for (int m = 0; m < rows; m++)
        for (int j = 0; j < in_flight; j++) sum[m][n + j] = part[m][j];
    }
  } else {
    for (int n = 0; n < 4; n++) {
      __m512i part[8][4];
      if (n < count) sum_products(rows, 1, a, first + n, part);
      for (int m = 0; m < rows; m++) sum[m][n] = n < count ? part[m][0] : _mm512_setzero_si512();
    }
  }
  __mmask8 present = (1 << count) - 1;
  __m128 w_scale = _mm_maskz_loadu_ps(present, a->w_scales + first);
  __m128 bias = a->bias ? _mm_maskz_loadu_ps(present, a->bias + first) : _mm_setzero_ps();
  for (int m = 0; m < rows; m++) {
    __m128 total = _mm_cvtepi32_ps(sum_lanes(sum[m])), scale = _mm_mul_ps(_mm_set1_ps(a->x_scales[m]), w_scale);
    __m128 y = a->bias ? _mm_fmadd_ps(total, scale, bias) : _mm_mul_ps(total, scale);
    _mm_mask_storeu_ps(a->y + m * a->y_stride + first, present, y);
  }
}

EAGLE_VNNI EAGLE_INLINE void pass(const int rows, const int in_flight, int8_operands a, int64_t n, int64_t end) {
  for (; n + 4 <= end; n += 4) four_outputs(rows, in_flight, &a, n, 4);
  if (n < end) four_outputs(rows, in_flight, &a, n, (int)(end - n));
}

/// Up to four rows, or up to eight where they leave room for weights in L1; otherwise passes of about equal size.
static int64_t rows_of_pass(int64_t left, int64_t k) {
  if (left <= 4 || (left <= 8 && left * k * 2 <= L1_BYTES)) return left;
  return left < 8 ? (left + 1) / 2 : 4;
}

EAGLE_VNNI
int64_t eagle_int8_pass_vnni(int8_operands a, int64_t rows_left, int64_t n, int64_t end) {
  int64_t rows = rows_of_pass(rows_left, a.k);
  if (rows == 1) pass(1, 4, a, n, end);
  if (rows == 2) pass(2, 4, a, n, end);
  if (rows == 3) pass(3, 4, a, n, end);
  if (rows == 4) pass(4, 4, a, n, end);
  if (rows == 5) pass(5, 2, a, n, end);
  if (rows == 6) pass(6, 2, a, n, end);
  if (rows == 7) pass(7, 2, a, n, end);
  if (rows == 8) pass(8, 2, a, n, end);
  return rows;
}
#endif
