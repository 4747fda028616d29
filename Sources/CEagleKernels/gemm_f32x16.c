#include "include/CEagleKernels.h"

// The steps of a GEMM C[m, n] (+)= A[m, k] B[k, n] with float32 products, for AVX-512, after Goto and van de Geijn, as
// gemm.c has them for AVX2: panels of B are [k][32], those of A [k][12], and 12 rows by 32 columns of C stay in 24
// registers. Elements are widened or rounded as they are packed: float32, bfloat16, or float32 rounded to bfloat16.
//
// It also multiplies bfloat16 elements on processors whose vdpbf16ps is slow: products of two such elements are exact
// in float32. Emerald Rapids takes two cycles for one vdpbf16ps and one for the two multiply-adds that do the same.

#if defined(__x86_64__)
#include "gemm_avx512.h"

#define TILE_ROWS EAGLE_GEMM_X16_ROWS
#define TILE_COLUMNS EAGLE_GEMM_X16_COLUMNS

enum { PREFETCH_BYTES_ALONG = 512 };  // the prefetch distance of packing along a line

typedef enum { FLOATS, HALVES, ROUNDED } element_kind;  // float32, bfloat16, float32 that is rounded to bfloat16

/// The nearest bfloat16 values, ties to even; a NaN stays one.
EAGLE_INLINE_AVX512 __m512i rounded(__m512i bits) {
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i nearest = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  __mmask16 is_nan = _mm512_cmp_ps_mask((__m512)bits, (__m512)bits, _CMP_UNORD_Q);
  nearest = _mm512_mask_or_epi32(nearest, is_nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_and_si512(nearest, _mm512_set1_epi32((int)0xffff0000));
}

/// Up to sixteen elements from index `at` on, as float32; 0 where the mask bit is 0.
EAGLE_INLINE_AVX512 __m512i load_words(const void *from, element_kind kind, int64_t at, __mmask16 which) {
  if (kind == HALVES) {
    __m256i halves = _mm256_maskz_loadu_epi16(which, (const uint16_t *)from + at);
    return _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
  }
  __m512i words = _mm512_maskz_loadu_epi32(which, (const float *)from + at);
  return kind == ROUNDED ? rounded(words) : words;
}

EAGLE_INLINE_AVX512 const char *address(const void *from, element_kind kind, int64_t at) {
  return (const char *)from + at * (kind == HALVES ? 2 : 4);
}

/// Up to sixteen lines, `stride` apart, of k elements side by side: to[p * width + i] = element p of line i, for the
/// lines up to 16. Where width is below 16 each store spills into the next group, which is written after it.
EAGLE_INLINE_AVX512 void pack_along_k(const void *from, element_kind kind, int64_t at, int64_t stride, int64_t lines,
                                      int64_t k, float *to, int width) {
  for (int64_t p = 0; p < k; p += 16, to += 16 * width) {
    __m512i r[16];
    __mmask16 which = (__mmask16)first_halves(k - p);
    for (int i = 0; i < 16; i++)
      r[i] = i < lines ? load_words(from, kind, at + i * stride + p, which) : _mm512_setzero_si512();
    for (int i = 0; i < 16; i++)
      if (i < lines) __builtin_prefetch(address(from, kind, at + i * stride + p) + PREFETCH_BYTES_ALONG);
    transpose16(r);
    for (int i = 0; i < 16; i++)
      if (p + i < k) _mm512_storeu_si512(to + i * width, r[i]);
  }
}

EAGLE_INLINE_AVX512 void pack_columns(const void *b, element_kind kind, int64_t row_stride, int64_t column_stride,
                                      int64_t k, int64_t n, float *panel) {
  if (row_stride == 1) {
    pack_along_k(b, kind, 0, column_stride, n < 16 ? n : 16, k, panel, TILE_COLUMNS);
    return pack_along_k(b, kind, 16 * column_stride, column_stride, n - 16, k, panel + 16, TILE_COLUMNS);
  }
  __mmask32 which = first_halves(n);
  for (int64_t p = 0; p < k; p++, panel += TILE_COLUMNS) {
    const char *ahead = address(b, kind, (p + PREFETCH_LINES) * row_stride);
    __builtin_prefetch(ahead);
    if (kind != HALVES) __builtin_prefetch(ahead + 64);
    _mm512_storeu_si512(panel, load_words(b, kind, p * row_stride, (__mmask16)which));
    _mm512_storeu_si512(panel + 16, load_words(b, kind, p * row_stride + 16, (__mmask16)(which >> 16)));
  }
}

EAGLE_INLINE_AVX512 void pack_rows(const void *a, element_kind kind, int64_t row_stride, int64_t column_stride,
                                   int64_t m, int64_t k, float *block) {
  if (column_stride == 1) {
    for (int64_t first = 0; first < m; first += TILE_ROWS, block += k * TILE_ROWS) {
      int64_t rows = m - first < TILE_ROWS ? m - first : TILE_ROWS;
      pack_along_k(a, kind, first * row_stride, row_stride, rows, k, block, TILE_ROWS);
    }
    return;
  }
  for (int64_t p = 0; p < k; p++) {
    for (int64_t first = 0; first < m; first += kind == HALVES ? 32 : 16)
      __builtin_prefetch(address(a, kind, (p + PREFETCH_LINES) * column_stride + first));
    for (int64_t first = 0; first < m; first += TILE_ROWS) {
      int64_t rows = m - first < TILE_ROWS ? m - first : TILE_ROWS;
      __m512i words = load_words(a, kind, p * column_stride + first, (__mmask16)first_halves(rows));
      _mm512_mask_storeu_epi32(block + first * k + p * TILE_ROWS, (1 << TILE_ROWS) - 1, words);
    }
  }
}

#define DEFINE_PACK(suffix, type, kind)                                                                             \
  EAGLE_AVX512                                                                                                     \
  void eagle_gemm_x16_pack_columns_##suffix(const type *b, int64_t row_stride, int64_t column_stride, int64_t k,   \
                                            int64_t n, float *panel) {                                             \
    pack_columns(b, kind, row_stride, column_stride, k, n, panel);                                                 \
  }                                                                                                                \
  EAGLE_AVX512                                                                                                     \
  void eagle_gemm_x16_pack_rows_##suffix(const type *a, int64_t row_stride, int64_t column_stride, int64_t m,      \
                                         int64_t k, float *block) {                                                \
    pack_rows(a, kind, row_stride, column_stride, m, k, block);                                                    \
  }

DEFINE_PACK(f32, float, FLOATS)
DEFINE_PACK(bf16, uint16_t, HALVES)
DEFINE_PACK(rounded, float, ROUNDED)

/// sum[i][h] = the product of a packed panel of A with one of B.
EAGLE_INLINE_AVX512 void multiply_tile(const float *a, const float *b, int64_t k, __m512 sum[TILE_ROWS][2]) {
  for (int i = 0; i < TILE_ROWS; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
#pragma clang loop unroll_count(2)
  for (int64_t p = 0; p < k; p++) {
    __m512 low = _mm512_loadu_ps(b + p * TILE_COLUMNS), high = _mm512_loadu_ps(b + p * TILE_COLUMNS + 16);
#pragma clang loop unroll(full)
    for (int i = 0; i < TILE_ROWS; i++) {
      __m512 x = _mm512_set1_ps(a[p * TILE_ROWS + i]);
      sum[i][0] = _mm512_fmadd_ps(x, low, sum[i][0]);
      sum[i][1] = _mm512_fmadd_ps(x, high, sum[i][1]);
    }
  }
}

EAGLE_AVX512
void eagle_gemm_x16_multiply(const float *a, const float *b, const eagle_gemm_block *block) {
  int64_t m = block->m, n = block->n, k = block->k, ldc = block->ldc;
  float *c = block->c;
  int accumulate = block->accumulate;
  // A's panel stays in the L1 cache and B's in L2, as in gemm_bf16.c.
  for (int64_t i = 0; i < m; i += TILE_ROWS)
    for (int64_t j = 0; j < n; j += TILE_COLUMNS) {
      __m512 sum[TILE_ROWS][2];
      float *to = c + i * ldc + j;
      prefetch_tile(TILE_ROWS, to, ldc, m - i);
      multiply_tile(a + i * k, b + j * k, k, sum);
      write_tile(TILE_ROWS, sum, to, ldc, m - i, n - j, accumulate);
    }
}
#else
#include <stdlib.h>

#define DEFINE_PACK(suffix, type)                                                                                   \
  void eagle_gemm_x16_pack_columns_##suffix(const type *b, int64_t row_stride, int64_t column_stride, int64_t k,   \
                                            int64_t n, float *panel) {                                             \
    abort();                                                                                                       \
  }                                                                                                                \
  void eagle_gemm_x16_pack_rows_##suffix(const type *a, int64_t row_stride, int64_t column_stride, int64_t m,      \
                                         int64_t k, float *block) {                                                \
    abort();                                                                                                       \
  }

DEFINE_PACK(f32, float)
DEFINE_PACK(bf16, uint16_t)
DEFINE_PACK(rounded, float)

void eagle_gemm_x16_multiply(const float *a, const float *b, const eagle_gemm_block *block) { abort(); }
#endif
