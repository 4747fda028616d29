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

// Blocks of rows and outputs in registers, weights asked for ahead, chunks of weights that stay in the cache for further rows:
// as in fewrows.c.
typedef struct {
  const int16_t *x;
  const float *x_scale;
  int64_t k;
  const int8_t *w;
  const float *w_scale, *bias;
  float *y;
  int64_t y_stride;
  int64_t ahead;  // bytes
} operands;

enum { CHUNK_BYTES = 32768, AHEAD_BYTES = 4096, WIDE_AHEAD_BYTES = 8192, X_BYTES = 45056 };

// Outputs that about fill a chunk.
EAGLE_INLINE int64_t int8_chunk(int64_t k) {
  int64_t outputs = CHUNK_BYTES / (k + 1) / 12 * 12;
  return outputs < 12 ? 12 : outputs;
}

// MARK: AVX2

#define EAGLE_AVX2 __attribute__((target("avx2,fma")))

// Sixteen products at a time, two of which are added to each 32-bit lane.
EAGLE_AVX2 EAGLE_INLINE void block_avx2(const int rows, const int outputs, operands a, int64_t first) {
  __m256i sum[5][4], weight[4];
  int64_t k = a.k, i = 0;
  const int8_t *w = a.w + first * k;
  for (int m = 0; m < rows; m++)
    for (int n = 0; n < outputs; n++) sum[m][n] = _mm256_setzero_si256();
  for (; i + 16 <= k; i += 16) {
    __builtin_prefetch(w + a.ahead + i * outputs);
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
      a.y[m * a.y_stride + first + n] = scaled(total, a.x_scale[m], a.w_scale[first + n], a.bias, first + n);
    }
}

EAGLE_AVX2 EAGLE_INLINE void pass_avx2(const int rows, const int outputs, operands a, int64_t n, int64_t end) {
  for (; n + outputs <= end; n += outputs) block_avx2(rows, outputs, a, n);
  for (; n < end; n++) block_avx2(rows, 1, a, n);
}

EAGLE_AVX2 static int64_t rows_avx2(operands a, int64_t left, int64_t n, int64_t end) {
  int64_t taken = left <= 5 ? left : left == 6 ? 3 : 5;
  if (taken == 1) pass_avx2(1, 4, a, n, end);
  if (taken == 2) pass_avx2(2, 4, a, n, end);
  if (taken == 3) pass_avx2(3, 3, a, n, end);
  if (taken == 4) pass_avx2(4, 2, a, n, end);
  if (taken == 5) pass_avx2(5, 2, a, n, end);
  return taken;
}

// MARK: AVX-512 with VNNI

#define EAGLE_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

// sum[m][n] of `outputs` outputs from `first` on: 64 values of k at a time, in two vectors.
EAGLE_VNNI EAGLE_INLINE void sums_vnni(const int rows, const int outputs, const operands *a, int64_t first,
                                       __m512i sum[][4]) {
  int64_t k = a->k, i = 0;
  const int8_t *w = a->w + first * k;
  for (int m = 0; m < rows; m++)
    for (int n = 0; n < outputs; n++) sum[m][n] = _mm512_setzero_si512();
  for (; i + 64 <= k; i += 64) {
    for (int n = 0; n < outputs; n++) __builtin_prefetch(w + a->ahead + i * outputs + 64 * n);
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
    __mmask32 there = k - i < 32 ? (1u << (k - i)) - 1 : ~0u;
    for (int n = 0; n < outputs; n++) {
      __m512i weight = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(there, w + n * k + i));
      for (int m = 0; m < rows; m++)
        sum[m][n] = _mm512_dpwssd_epi32(sum[m][n], _mm512_maskz_loadu_epi16(there, a->x + m * k + i), weight);
    }
  }
}

// The lanes of each of four sums.
EAGLE_VNNI EAGLE_INLINE __m128i totals_vnni(const __m512i v[4]) {
  __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// Four outputs, or as many as there are, with `in_flight` of them at a time.
EAGLE_VNNI EAGLE_INLINE void four_vnni(const int rows, const int in_flight, const operands *a, int64_t first, int count) {
  __m512i sum[8][4];
  if (count == 4) {
    for (int n = 0; n < 4; n += in_flight) {
      __m512i part[8][4];
      sums_vnni(rows, in_flight, a, first + n, part);
      for (int m = 0; m < rows; m++)
        for (int j = 0; j < in_flight; j++) sum[m][n + j] = part[m][j];
    }
  } else {
    for (int n = 0; n < 4; n++) {
      __m512i part[8][4];
      if (n < count) sums_vnni(rows, 1, a, first + n, part);
      for (int m = 0; m < rows; m++) sum[m][n] = n < count ? part[m][0] : _mm512_setzero_si512();
    }
  }
  __mmask8 there = (1 << count) - 1;
  __m128 w_scale = _mm_maskz_loadu_ps(there, a->w_scale + first);
  __m128 bias = a->bias ? _mm_maskz_loadu_ps(there, a->bias + first) : _mm_setzero_ps();
  for (int m = 0; m < rows; m++) {
    __m128 total = _mm_cvtepi32_ps(totals_vnni(sum[m])), scale = _mm_mul_ps(_mm_set1_ps(a->x_scale[m]), w_scale);
    __m128 y = a->bias ? _mm_fmadd_ps(total, scale, bias) : _mm_mul_ps(total, scale);
    _mm_mask_storeu_ps(a->y + m * a->y_stride + first, there, y);
  }
}

EAGLE_VNNI EAGLE_INLINE void pass_vnni(const int rows, const int in_flight, operands a, int64_t n, int64_t end) {
  for (; n + 4 <= end; n += 4) four_vnni(rows, in_flight, &a, n, 4);
  if (n < end) four_vnni(rows, in_flight, &a, n, (int)(end - n));
}

EAGLE_VNNI static int64_t rows_vnni(operands a, int64_t left, int64_t n, int64_t end) {
  int64_t taken = left <= 4 || (left <= 8 && left * a.k * 2 <= X_BYTES) ? left : left < 8 ? (left + 1) / 2 : 4;
  if (taken == 1) pass_vnni(1, 4, a, n, end);
  if (taken == 2) pass_vnni(2, 4, a, n, end);
  if (taken == 3) pass_vnni(3, 4, a, n, end);
  if (taken == 4) pass_vnni(4, 4, a, n, end);
  if (taken == 5) pass_vnni(5, 2, a, n, end);
  if (taken == 6) pass_vnni(6, 2, a, n, end);
  if (taken == 7) pass_vnni(7, 2, a, n, end);
  if (taken == 8) pass_vnni(8, 2, a, n, end);
  return taken;
}

static void in_chunks(int64_t (*pass)(operands, int64_t, int64_t, int64_t), int64_t most, int64_t ahead, operands a,
                      int64_t rows, int64_t n_begin, int64_t n_end) {
  int64_t chunk = int8_chunk(a.k);
  a.ahead = rows <= most ? ahead : chunk * a.k;
  for (int64_t n = n_begin; n < n_end; n += chunk) {
    operands part = a;
    for (int64_t m = 0, taken; m < rows; m += taken) {
      taken = pass(part, rows - m, n, n + chunk < n_end ? n + chunk : n_end);
      part.x += taken * a.k;
      part.x_scale += taken;
      part.y += taken * a.y_stride;
    }
  }
}
#endif

void eagle_few_rows_int8(const int16_t *x, const float *x_scale, int64_t rows, int64_t k, const int8_t *w,
                         const float *w_scale, const float *bias, float *y, int64_t y_stride, int64_t n_begin,
                         int64_t n_end, int variant) {
#if defined(__x86_64__)
  if (variant == EAGLE_INT8_BEST)
    variant = __builtin_cpu_supports("avx512vnni") && eagle_cpu_has_avx512() ? EAGLE_INT8_VNNI
              : eagle_cpu_has_avx2()                                         ? EAGLE_INT8_AVX2
                                                                             : EAGLE_INT8_PORTABLE;
  operands a = {x, x_scale, k, w, w_scale, bias, y, y_stride, 0};
  if (variant == EAGLE_INT8_VNNI) return in_chunks(rows_vnni, 8, WIDE_AHEAD_BYTES, a, rows, n_begin, n_end);
  if (variant == EAGLE_INT8_AVX2) return in_chunks(rows_avx2, 5, AHEAD_BYTES, a, rows, n_begin, n_end);
#endif
  few_rows_portable(x, x_scale, rows, k, w, w_scale, bias, y, y_stride, n_begin, n_end);
}
