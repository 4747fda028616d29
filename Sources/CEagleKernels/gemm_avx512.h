// What the GEMMs of AVX-512 have in common: tiles of 12 rows by 32 columns, and lines that are transposed as they are
// packed. A word is a float32 element, or a pair of bfloat16 ones.
#ifndef EAGLE_GEMM_AVX512_H
#define EAGLE_GEMM_AVX512_H

#include <immintrin.h>
#include "dispatch.h"
#include "include/CEagleKernels.h"

enum { PREFETCH_LINES = 16 };  // the prefetch distance of packing across lines, which are apart in memory

EAGLE_INLINE_AVX512 __mmask32 first_halves(int64_t n) { return n >= 32 ? ~0u : n <= 0 ? 0 : (1u << n) - 1; }

/// r[0..15] are rows of sixteen words; afterwards they are the columns.
EAGLE_INLINE_AVX512 void transpose16(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  // Afterwards r[4 g + c] holds column c + 4 l of the rows 4 g to 4 g + 3 in its lane l.
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int c = 0; c < 4; c++) {
    __m512i even01 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88), odd01 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
    __m512i even23 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
    __m512i odd23 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
    t[c] = _mm512_shuffle_i32x4(even01, even23, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(even01, even23, 0xdd);
    t[4 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
    t[12 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0xdd);
  }
  for (int i = 0; i < 16; i++) r[i] = t[i];
}

/// Prefetches the lines of C that a tile of `rows` by 32 will write.
EAGLE_INLINE_AVX512 void prefetch_tile(const int rows, const float *c, int64_t ldc, int64_t m) {
  for (int64_t row = 0; row < rows && row < m; row++) {
    __builtin_prefetch(c + row * ldc, 1);
    __builtin_prefetch(c + row * ldc + 16, 1);
  }
}

/// A tile of `rows` by 32: all of it, or the part that is in C.
EAGLE_INLINE_AVX512 void write_tile(const int rows, __m512 sum[][2], float *c, int64_t ldc, int64_t m, int64_t n,
                                    int accumulate) {
  __mmask32 which = first_halves(n);
  for (int i = 0; i < rows; i++)
    for (int h = 0; h < 2; h++) {
      float *to = c + i * ldc + 16 * h;
      __mmask16 part = i < m ? (__mmask16)(which >> 16 * h) : 0;
      _mm512_mask_storeu_ps(to, part, accumulate ? _mm512_maskz_loadu_ps(part, to) + sum[i][h] : sum[i][h]);
    }
}
#endif
