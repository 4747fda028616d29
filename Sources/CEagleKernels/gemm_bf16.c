#include "include/CEagleKernels.h"

// The steps of a bfloat16 GEMM C[m, n] (+)= A[m, k] B[k, n] with sums in float32, after Goto and van de Geijn, as
// gemm.c has them for float32. vdpbf16ps multiplies pairs that are adjacent in k and adds both products to a float32
// lane, so a word of a panel holds two elements: B's panels are [k/2][32] words, A's [k/2][12], and 12 rows by 32
// columns of C stay in 24 registers. Where k is odd the last pair ends with 0.

#if defined(__x86_64__)
#include "gemm_avx512.h"

// Only processors with AVX512-BF16 run this; callers test eagle_cpu_has_avx512_bf16.
#define TILE_ROWS EAGLE_GEMM_BF16_ROWS
#define TILE_COLUMNS EAGLE_GEMM_BF16_COLUMNS

enum { PREFETCH_ELEMENTS = 256 };  // along a line

/// Up to 32 elements from index `at` on: bfloat16 ones, or float32 ones, which are rounded to the nearest.
EAGLE_INLINE_AVX512_BF16 __m512i load_halves(const void *from, int is_wide, int64_t at, __mmask32 which) {
  if (!is_wide) return _mm512_maskz_loadu_epi16(which, (const uint16_t *)from + at);
  __m512 low = _mm512_maskz_loadu_ps((__mmask16)which, (const float *)from + at);
  __m512 high = _mm512_maskz_loadu_ps((__mmask16)(which >> 16), (const float *)from + at + 16);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

EAGLE_INLINE_AVX512_BF16 void prefetch(const void *from, int is_wide, int64_t at) {
  __builtin_prefetch((const char *)from + at * (is_wide ? 4 : 2));
}

/// Up to sixteen lines, `stride` apart, of k elements side by side: to[p * width + i] = the pair p of line i, for the
/// lines up to 16. Where width is below 16 each store spills into the next pair, which is written after it.
EAGLE_INLINE_AVX512_BF16 void pack_along_k(const void *from, int is_wide, int64_t at, int64_t stride, int64_t lines,
                                           int64_t k, uint32_t *to, int width) {
  for (int64_t p = 0; p < k; p += 32, to += 16 * width) {
    __m512i r[16];
    __mmask32 halves = first_halves(k - p);
    for (int i = 0; i < 16; i++)
      r[i] = i < lines ? load_halves(from, is_wide, at + i * stride + p, halves) : _mm512_setzero_si512();
    for (int i = 0; i < 16; i++)
      if (i < lines) prefetch(from, is_wide, at + i * stride + p + PREFETCH_ELEMENTS);
    transpose16(r);
    int64_t pairs = (k - p + 1) / 2;
    for (int i = 0; i < 16; i++)
      if (i < pairs) _mm512_storeu_si512(to + i * width, r[i]);
  }
}

/// The pairs of two lines of up to 32 elements, those of the first sixteen and of the others; without a second line
/// (-1) with 0.
EAGLE_INLINE_AVX512_BF16 void pair(const void *from, int is_wide, int64_t first, int64_t second, __mmask32 which,
                                   __m512i pairs[2]) {
  __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36,
                                 4, 35, 3, 34, 2, 33, 1, 32, 0);
  __m512i a = load_halves(from, is_wide, first, which);
  __m512i b = second < 0 ? _mm512_setzero_si512() : load_halves(from, is_wide, second, which);
  pairs[0] = _mm512_permutex2var_epi16(a, low, b);
  pairs[1] = _mm512_permutex2var_epi16(a, _mm512_add_epi16(low, _mm512_set1_epi16(16)), b);
}

EAGLE_INLINE_AVX512_BF16 void pack_columns(const void *b, int is_wide, int64_t row_stride, int64_t column_stride,
                                           int64_t k, int64_t n, uint32_t *panel) {
  if (row_stride == 1) {
    pack_along_k(b, is_wide, 0, column_stride, n < 16 ? n : 16, k, panel, TILE_COLUMNS);
    return pack_along_k(b, is_wide, 16 * column_stride, column_stride, n - 16, k, panel + 16, TILE_COLUMNS);
  }
  for (int64_t p = 0; p < k; p += 2, panel += TILE_COLUMNS) {
    __m512i pairs[2];
    pair(b, is_wide, p * row_stride, p + 1 < k ? (p + 1) * row_stride : -1, first_halves(n), pairs);
    _mm512_storeu_si512(panel, pairs[0]);
    _mm512_storeu_si512(panel + 16, pairs[1]);
  }
}

EAGLE_INLINE_AVX512_BF16 void pack_rows(const void *a, int is_wide, int64_t row_stride, int64_t column_stride,
                                        int64_t m, int64_t k, uint32_t *block) {
  int64_t panel = (k + 1) / 2 * TILE_ROWS;
  if (column_stride == 1) {
    for (int64_t first = 0; first < m; first += TILE_ROWS, block += panel) {
      int64_t rows = m - first < TILE_ROWS ? m - first : TILE_ROWS;
      pack_along_k(a, is_wide, first * row_stride, row_stride, rows, k, block, TILE_ROWS);
    }
    return;
  }
  for (int64_t p = 0; p < k; p += 2) {
    for (int64_t first = 0; first < m; first += 32) {
      prefetch(a, is_wide, (p + PREFETCH_LINES) * column_stride + first);
      prefetch(a, is_wide, (p + PREFETCH_LINES + 1) * column_stride + first);
    }
    for (int64_t first = 0; first < m; first += TILE_ROWS) {
      __m512i pairs[2];
      int64_t at = p * column_stride + first, rows = m - first < TILE_ROWS ? m - first : TILE_ROWS;
      pair(a, is_wide, at, p + 1 < k ? at + column_stride : -1, first_halves(rows), pairs);
      _mm512_mask_storeu_epi32(block + first / TILE_ROWS * panel + p / 2 * TILE_ROWS, (1 << TILE_ROWS) - 1, pairs[0]);
    }
  }
}

#define DEFINE_PACK(suffix, type, is_wide)                                                                          \
  EAGLE_AVX512_BF16                                                                                                \
  void eagle_gemm_bf16_pack_columns##suffix(const type *b, int64_t row_stride, int64_t column_stride, int64_t k,   \
                                            int64_t n, uint32_t *panel) {                                          \
    pack_columns(b, is_wide, row_stride, column_stride, k, n, panel);                                              \
  }                                                                                                                \
  EAGLE_AVX512_BF16                                                                                                \
  void eagle_gemm_bf16_pack_rows##suffix(const type *a, int64_t row_stride, int64_t column_stride, int64_t m,      \
                                         int64_t k, uint32_t *block) {                                             \
    pack_rows(a, is_wide, row_stride, column_stride, m, k, block);                                                 \
  }

DEFINE_PACK(, uint16_t, 0)
DEFINE_PACK(_f32, float, 1)

/// sum[i][h] = the product of a packed panel of A with one of B.
EAGLE_INLINE_AVX512_BF16 void multiply_tile(const uint32_t *a, const uint32_t *b, int64_t pairs,
                                            __m512 sum[TILE_ROWS][2]) {
  for (int i = 0; i < TILE_ROWS; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
#pragma clang loop unroll_count(2)
  for (int64_t p = 0; p < pairs; p++) {
    __m512bh low = (__m512bh)_mm512_loadu_si512(b + p * TILE_COLUMNS);
    __m512bh high = (__m512bh)_mm512_loadu_si512(b + p * TILE_COLUMNS + 16);
#pragma clang loop unroll(full)
    for (int i = 0; i < TILE_ROWS; i++) {
      __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[p * TILE_ROWS + i]);
      sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, low);
      sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, high);
    }
  }
}

EAGLE_AVX512_BF16
void eagle_gemm_bf16_multiply(const uint32_t *a, const uint32_t *b, const eagle_gemm_block *block) {
  int64_t m = block->m, n = block->n, pairs = (block->k + 1) / 2, ldc = block->ldc;
  float *c = block->c;
  int accumulate = block->accumulate;
  // A's panel stays in the L1 cache and B's in L2, and rows of C are written from left to right: with C's rows 64 kB
  // apart the other order was a tenth slower.
  for (int64_t i = 0; i < m; i += TILE_ROWS)
    for (int64_t j = 0; j < n; j += TILE_COLUMNS) {
      __m512 sum[TILE_ROWS][2];
      float *to = c + i * ldc + j;
      prefetch_tile(TILE_ROWS, to, ldc, m - i);
      multiply_tile(a + i * pairs, b + j * pairs, pairs, sum);
      write_tile(TILE_ROWS, sum, to, ldc, m - i, n - j, accumulate);
    }
}
#else
#include <stdlib.h>

#define DEFINE_PACK(suffix, type)                                                                                   \
  void eagle_gemm_bf16_pack_columns##suffix(const type *b, int64_t row_stride, int64_t column_stride, int64_t k,   \
                                            int64_t n, uint32_t *panel) {                                          \
    abort();                                                                                                       \
  }                                                                                                                \
  void eagle_gemm_bf16_pack_rows##suffix(const type *a, int64_t row_stride, int64_t column_stride, int64_t m,      \
                                         int64_t k, uint32_t *block) {                                             \
    abort();                                                                                                       \
  }

DEFINE_PACK(, uint16_t)
DEFINE_PACK(_f32, float)

void eagle_gemm_bf16_multiply(const uint32_t *a, const uint32_t *b, const eagle_gemm_block *block) { abort(); }
#endif
