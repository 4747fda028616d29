#include "include/CEagleKernels.h"

#include <math.h>
#include "dispatch.h"

// y[m][n] = x_scale[m] w_scale[n] sum_k x[m][k] w[n][k], x in 16 bits and w in 8: the sums are integers, so no order of
// additions changes them, and the three variants give the same bits.

EAGLE_DISPATCHED
float eagle_quantize_int8(const float *x, int8_t *q, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; i++) {
    float size = fabsf(x[i]);
    largest = size > largest ? size : largest;
  }
  float factor = largest > 0 ? 127.0f / largest : 0.0f;
  for (int64_t i = 0; i < n; i++) q[i] = (int8_t)__builtin_roundevenf(x[i] * factor);
  return largest / 127.0f;
}

EAGLE_DISPATCHED
float eagle_quantize_int16(const float *x, int16_t *q, int64_t n) {
  // The largest sum, 127 limit n, must stay below 2^31.
  float limit = (float)(16777216 / n);
  if (limit > 32767.0f) limit = 32767.0f;
  float largest = 0;
  for (int64_t i = 0; i < n; i++) {
    float size = fabsf(x[i]);
    largest = size > largest ? size : largest;
  }
  float factor = largest > 0 ? limit / largest : 0.0f;
  for (int64_t i = 0; i < n; i++) q[i] = (int16_t)__builtin_roundevenf(x[i] * factor);
  return largest / limit;
}

#define DEFINE_ALL_ROWS(suffix, attributes)                                                                        \
  attributes static inline void all_rows_##suffix(const int outputs, const int16_t *x, const float *x_scale,      \
                                                  int64_t rows, int64_t k, const int8_t *w, const float *w_scale,  \
                                                  const float *bias, float *y, int64_t y_stride) {                 \
    for (; rows >= 4; rows -= 4, x += 4 * k, x_scale += 4, y += 4 * y_stride)                                      \
      block_##suffix(4, outputs, x, x_scale, k, w, w_scale, bias, y, y_stride);                                    \
    if (rows == 3) block_##suffix(3, outputs, x, x_scale, k, w, w_scale, bias, y, y_stride);                       \
    if (rows == 2) block_##suffix(2, outputs, x, x_scale, k, w, w_scale, bias, y, y_stride);                       \
    if (rows == 1) block_##suffix(1, outputs, x, x_scale, k, w, w_scale, bias, y, y_stride);                       \
  }                                                                                                                \
  attributes static void few_rows_##suffix(const int16_t *x, const float *x_scale, int64_t rows, int64_t k,        \
                                           const int8_t *w, const float *w_scale, const float *bias, float *y,     \
                                           int64_t y_stride, int64_t n_begin, int64_t n_end) {                     \
    int64_t n = n_begin;                                                                                           \
    if (rows <= 2)                                                                                                 \
      for (; n + 4 <= n_end; n += 4)                                                                               \
        all_rows_##suffix(4, x, x_scale, rows, k, w + n * k, w_scale + n, bias ? bias + n : 0, y + n, y_stride);   \
    for (; n + 2 <= n_end; n += 2)                                                                                 \
      all_rows_##suffix(2, x, x_scale, rows, k, w + n * k, w_scale + n, bias ? bias + n : 0, y + n, y_stride);     \
    for (; n < n_end; n++)                                                                                         \
      all_rows_##suffix(1, x, x_scale, rows, k, w + n * k, w_scale + n, bias ? bias + n : 0, y + n, y_stride);     \
  }

// Fused on purpose: a compiler that fuses in one variant and not in another would tell them apart.
EAGLE_INLINE float scaled(int32_t sum, float x_scale, float w_scale, const float *bias, int n) {
  float scale = x_scale * w_scale;
  return bias ? __builtin_fmaf((float)sum, scale, bias[n]) : (float)sum * scale;
}

EAGLE_INLINE void block_portable(const int rows, const int outputs, const int16_t *x, const float *x_scale, int64_t k,
                                 const int8_t *w, const float *w_scale, const float *bias, float *y,
                                 int64_t y_stride) {
  for (int m = 0; m < rows; m++)
    for (int n = 0; n < outputs; n++) {
      int32_t sum = 0;
      for (int64_t i = 0; i < k; i++) sum += x[m * k + i] * w[n * k + i];
      y[m * y_stride + n] = scaled(sum, x_scale[m], w_scale[n], bias, n);
    }
}

DEFINE_ALL_ROWS(portable, )

#if defined(__x86_64__)
#include <immintrin.h>

#define EAGLE_AVX2 __attribute__((target("avx2,fma")))
#define EAGLE_VNNI __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")))

// sum += x w over sixteen pairs: two products are added to each 32-bit lane.
#define MULTIPLY_ADD_AVX2(sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
#define MULTIPLY_ADD_VNNI(sum, x, w) _mm256_dpwssd_epi32(sum, x, w)

#define DEFINE_BLOCK(suffix, attributes, multiply_add)                                                             \
  attributes static inline __attribute__((always_inline)) void block_##suffix(                                     \
      const int rows, const int outputs, const int16_t *x, const float *x_scale, int64_t k, const int8_t *w,       \
      const float *w_scale, const float *bias, float *y, int64_t y_stride) {                                       \
    __m256i sum[4][4];                                                                                             \
    for (int m = 0; m < rows; m++)                                                                                 \
      for (int n = 0; n < outputs; n++) sum[m][n] = _mm256_setzero_si256();                                        \
    int64_t i = 0;                                                                                                 \
    for (; i + 16 <= k; i += 16) {                                                                                 \
      __m256i weight[4];                                                                                           \
      for (int n = 0; n < outputs; n++)                                                                            \
        weight[n] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + n * k + i)));                       \
      for (int m = 0; m < rows; m++) {                                                                             \
        __m256i xm = _mm256_loadu_si256((const __m256i *)(x + m * k + i));                                         \
        for (int n = 0; n < outputs; n++) sum[m][n] = multiply_add(sum[m][n], xm, weight[n]);                      \
      }                                                                                                            \
    }                                                                                                              \
    for (int m = 0; m < rows; m++)                                                                                 \
      for (int n = 0; n < outputs; n++) {                                                                          \
        __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum[m][n]), _mm256_extracti128_si256(sum[m][n], 1));   \
        half = _mm_hadd_epi32(half, half);                                                                         \
        int32_t total = _mm_cvtsi128_si32(_mm_hadd_epi32(half, half));                                             \
        for (int64_t j = i; j < k; j++) total += x[m * k + j] * w[n * k + j];                                      \
        y[m * y_stride + n] = scaled(total, x_scale[m], w_scale[n], bias, n);                                      \
      }                                                                                                            \
  }

DEFINE_BLOCK(avx2, EAGLE_AVX2, MULTIPLY_ADD_AVX2)
DEFINE_ALL_ROWS(avx2, EAGLE_AVX2)
DEFINE_BLOCK(vnni, EAGLE_VNNI, MULTIPLY_ADD_VNNI)
DEFINE_ALL_ROWS(vnni, EAGLE_VNNI)
#endif

void eagle_few_rows_int8(const int16_t *x, const float *x_scale, int64_t rows, int64_t k, const int8_t *w,
                         const float *w_scale, const float *bias, float *y, int64_t y_stride, int64_t n_begin,
                         int64_t n_end, int variant) {
#if defined(__x86_64__)
  if (variant == EAGLE_INT8_BEST)
    variant = __builtin_cpu_supports("avx512vnni") && eagle_cpu_has_avx512() ? EAGLE_INT8_VNNI
              : eagle_cpu_has_avx2()                                         ? EAGLE_INT8_AVX2
                                                                             : EAGLE_INT8_PORTABLE;
  if (variant == EAGLE_INT8_VNNI)
    return few_rows_vnni(x, x_scale, rows, k, w, w_scale, bias, y, y_stride, n_begin, n_end);
  if (variant == EAGLE_INT8_AVX2)
    return few_rows_avx2(x, x_scale, rows, k, w, w_scale, bias, y, y_stride, n_begin, n_end);
#endif
  few_rows_portable(x, x_scale, rows, k, w, w_scale, bias, y, y_stride, n_begin, n_end);
}
