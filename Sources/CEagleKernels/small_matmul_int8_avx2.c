#include "small_matmul_int8.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define EAGLE_AVX2 __attribute__((target("avx2,fma")))

/// Some rows by some outputs from `first` on: sixteen multiplications at a time, two of which are added to each 32-bit
/// lane.
EAGLE_AVX2 EAGLE_INLINE void block(const int rows, const int outputs, int8_operands a, int64_t first) {
  __m256i sum[5][4], weight[4];
  int64_t k = a.k, i = 0;
  const int8_t *w = a.w + first * k;
  for (int m = 0; m < rows; m++)
    for (int n = 0; n < outputs; n++) sum[m][n] = _mm256_setzero_si256();
  for (; i + 16 <= k; i += 16) {
    __builtin_prefetch(w + a.distance + i * outputs);
    for (int n = 0; n < outputs; n++)
      weight[n] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + n * k + i)));
    for (int m = 0; m < rows; m++) {
      __m256i x = _mm256_loadu_si256((const __m256i *)(a.x + m * k + i));
      for (int n = 0; n < outputs; n++)
        sum[m][n] = _mm256_add_epi32(sum[m][n], _mm256_madd_epi16(x, weight[n]));
    }
  }
  for (int m = 0; m < rows; m++)
    for (int n = 0; n < outputs; n++) {
      __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum[m][n]), _mm256_extracti128_si256(sum[m][n], 1));
      half = _mm_hadd_epi32(half, half);
      int32_t total = _mm_cvtsi128_si32(_mm_hadd_epi32(half, half));
      for (int64_t j = i; j < k; j++) total += a.x[m * k + j] * w[n * k + j];
      a.y[m * a.y_stride + first + n] = scale_sum(total, a.x_scales[m], a.w_scales[first + n], a.bias, first + n);
    }
}

EAGLE_AVX2 EAGLE_INLINE void pass(const int rows, const int outputs, int8_operands a, int64_t n, int64_t end) {
  for (; n + outputs <= end; n += outputs) block(rows, outputs, a, n);
  for (; n < end; n++) block(rows, 1, a, n);
}

EAGLE_AVX2
int64_t eagle_int8_pass_avx2(int8_operands a, int64_t rows_left, int64_t n, int64_t end) {
  int64_t rows = rows_left <= 5 ? rows_left : rows_left == 6 ? 3 : 5;
  if (rows == 1) pass(1, 4, a, n, end);
  if (rows == 2) pass(2, 4, a, n, end);
  if (rows == 3) pass(3, 3, a, n, end);
  if (rows == 4) pass(4, 2, a, n, end);
  if (rows == 5) pass(5, 2, a, n, end);
  return rows;
}
#endif
