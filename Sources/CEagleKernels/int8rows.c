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

// Fused on purpose: a compiler that fuses in one variant and not in another would tell them apart.
EAGLE_INLINE float scaled(int32_t sum, float x_scale, float w_scale, const float *bias, int64_t n) {
  float scale = x_scale * w_scale;
  return bias ? __builtin_fmaf((float)sum, scale, bias[n]) : (float)sum * scale;
}

// The plain form, which the others must equal.
static void few_rows_portable(const int16_t *x, const float *x_scale, int64_t rows, int64_t k, const int8_t *w,
                              const float *w_scale, const float *bias, float *y, int64_t y_stride, int64_t n_begin,
                              int64_t n_end) {
  for (int64_t n = n_begin; n < n_end; n++)
    for (int64_t m = 0; m < rows; m++) {
      int32_t sum = 0;
      for (int64_t i = 0; i < k; i++) sum += x[m * k + i] * w[n * k + i];
      y[m * y_stride + n] = scaled(sum, x_scale[m], w_scale[n], bias, n);
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

#define EAGLE_AVX2 __attribute__((target("avx2,fma")))
#define EAGLE_VNNI __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")))

// sum += x w over sixteen pairs: two products are added to each 32-bit lane.
#define MULTIPLY_ADD_AVX2(sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
#define MULTIPLY_ADD_VNNI(sum, x, w) _mm256_dpwssd_epi32(sum, x, w)

enum { CHUNK_BYTES = 32768, AHEAD_BYTES = 4096 };

// Blocks of rows and outputs in registers, weights asked for ahead, chunks of weights that stay in the cache for further rows:
// as in fewrows.c.
#define DEFINE_FEW_ROWS(suffix, attributes, multiply_add)                                                          \
  attributes static inline __attribute__((always_inline)) void block_##suffix(                                     \
      const int rows, const int outputs, int64_t ahead, const int16_t *x, const float *x_scale, int64_t k,         \
      const int8_t *w, const float *w_scale, const float *bias, float *y, int64_t y_stride) {                      \
    __m256i sum[5][4], weight[4];                                                                                  \
    for (int m = 0; m < rows; m++)                                                                                 \
      for (int n = 0; n < outputs; n++) sum[m][n] = _mm256_setzero_si256();                                        \
    int64_t i = 0;                                                                                                 \
    for (; i + 16 <= k; i += 16) {                                                                                 \
      __builtin_prefetch(w + ahead + i * outputs);                                                                 \
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
  }                                                                                                                \
  attributes static inline __attribute__((always_inline)) void pass_##suffix(                                      \
      const int rows, const int outputs, int64_t ahead, const int16_t *x, const float *x_scale, int64_t k,         \
      const int8_t *w, const float *w_scale, const float *bias, float *y, int64_t y_stride, int64_t n_begin,       \
      int64_t n_end) {                                                                                             \
    int64_t n = n_begin;                                                                                           \
    for (; n + outputs <= n_end; n += outputs)                                                                     \
      block_##suffix(rows, outputs, ahead, x, x_scale, k, w + n * k, w_scale + n, bias ? bias + n : 0, y + n,      \
                     y_stride);                                                                                    \
    for (; n < n_end; n++)                                                                                         \
      block_##suffix(rows, 1, ahead, x, x_scale, k, w + n * k, w_scale + n, bias ? bias + n : 0, y + n, y_stride); \
  }                                                                                                                \
  attributes static void few_rows_##suffix(const int16_t *x, const float *x_scale, int64_t rows, int64_t k,        \
                                           const int8_t *w, const float *w_scale, const float *bias, float *y,     \
                                           int64_t y_stride, int64_t n_begin, int64_t n_end) {                     \
    int64_t chunk = CHUNK_BYTES / (k + 1) / 12 * 12;                                                               \
    if (chunk < 12) chunk = 12;                                                                                    \
    int64_t ahead = rows <= 5 ? AHEAD_BYTES : chunk * k;                                                           \
    for (int64_t n = n_begin; n < n_end; n += chunk) {                                                             \
      int64_t end = n + chunk < n_end ? n + chunk : n_end, m = 0;                                                  \
      while (m < rows) {                                                                                           \
        const int16_t *xm = x + m * k;                                                                             \
        const float *sm = x_scale + m;                                                                             \
        float *ym = y + m * y_stride;                                                                              \
        int64_t left = rows - m, taken = left <= 5 ? left : left == 6 ? 3 : 5;                                     \
        if (taken == 1) pass_##suffix(1, 4, ahead, xm, sm, k, w, w_scale, bias, ym, y_stride, n, end);             \
        if (taken == 2) pass_##suffix(2, 4, ahead, xm, sm, k, w, w_scale, bias, ym, y_stride, n, end);             \
        if (taken == 3) pass_##suffix(3, 3, ahead, xm, sm, k, w, w_scale, bias, ym, y_stride, n, end);             \
        if (taken == 4) pass_##suffix(4, 2, ahead, xm, sm, k, w, w_scale, bias, ym, y_stride, n, end);             \
        if (taken == 5) pass_##suffix(5, 2, ahead, xm, sm, k, w, w_scale, bias, ym, y_stride, n, end);             \
        m += taken;                                                                                                \
      }                                                                                                            \
    }                                                                                                              \
  }

DEFINE_FEW_ROWS(avx2, EAGLE_AVX2, MULTIPLY_ADD_AVX2)
DEFINE_FEW_ROWS(vnni, EAGLE_VNNI, MULTIPLY_ADD_VNNI)
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
