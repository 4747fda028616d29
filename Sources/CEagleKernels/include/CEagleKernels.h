// The vector loops that Swift cannot dispatch at run time. One function per op; every function works on plain
// row-major float arrays and is compiled for AVX-512, AVX2 and the baseline, chosen when the program is loaded; the
// small-M matmuls choose in each call, and eagle_gemm_bf16_* are for AVX512-BF16 alone.
//
// R rows · C columns · d head dimension.
#ifndef CEAGLEKERNELS_H
#define CEAGLEKERNELS_H

#include <stddef.h>
#include <stdint.h>
#include "eagle_attention.h"
#include "eagle_rows.h"
#include "eagle_small_matmul.h"
#include "eagle_threads.h"

// MARK: float32 products (gemm.c)

enum {
  EAGLE_GEMM_ROWS = 6,      // of C in registers
  EAGLE_GEMM_COLUMNS = 16,  // the same, and the width of a panel
  EAGLE_GEMM_DEPTH = 320,   // largest k of one block
};

/// Packs up to 16 columns of B [k, n] for eagle_gemm_block: panel[p][j], columns beyond n are 0. Either stride is 1.
void eagle_gemm_pack_f32(const float *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                         float *panel);
void eagle_gemm_pack_bf16(const uint16_t *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                          float *panel);
/// Packs m rows of A [m, k] for eagle_gemm_block: panels of 6 rows, [k][6] each, rows beyond m are 0. Either stride is 1.
void eagle_gemm_pack_rows(const float *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                          float *block);
/// C[m, n] = (or +=) A[m, k] B[k, n], both as packed panels one after the other, k <= EAGLE_GEMM_DEPTH.
void eagle_gemm_block(const float *a, const float *b, int64_t m, int64_t n, int64_t k, float *c, int64_t ldc,
                      int accumulate);

// MARK: bfloat16 products (gemm_bf16.c), for processors with AVX512-BF16 alone

enum {
  EAGLE_GEMM_BF16_ROWS = 12,
  EAGLE_GEMM_BF16_COLUMNS = 32,
  EAGLE_GEMM_BF16_DEPTH = 576,
};

/// Packs up to 32 columns of B [k, n] for eagle_gemm_bf16_block: panel[p][j] holds b[2p, j] in its low half and b[2p + 1, j] in
/// its high one, 0 beyond n and k. Either stride is 1.
void eagle_gemm_bf16_pack_columns(const uint16_t *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                                  uint32_t *panel);
/// Packs m rows of A [m, k] for eagle_gemm_bf16_block: panels of 12 rows, [ceil(k/2)][12] such words each, and may write to four
/// words behind them. Either stride is 1.
void eagle_gemm_bf16_pack_rows(const uint16_t *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                               uint32_t *block);
/// The same for float32 numbers, which are rounded as they are packed.
void eagle_gemm_bf16_pack_columns_f32(const float *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                                      uint32_t *panel);
void eagle_gemm_bf16_pack_rows_f32(const float *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                                   uint32_t *block);
/// C[m, n] = (or +=) A[m, k] B[k, n], both as packed panels one after the other, C float32.
void eagle_gemm_bf16_block(const uint32_t *a, const uint32_t *b, int64_t m, int64_t n, int64_t k, float *c, int64_t ldc,
                           int accumulate);

#endif
