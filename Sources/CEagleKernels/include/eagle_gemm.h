// The steps of GEMMs: packing, and blocks of C.
#ifndef EAGLE_GEMM_H
#define EAGLE_GEMM_H

#include <stdint.h>

/// A block of C[m, n] = (or +=) A[m, k] B[k, n]; A and B are packed, C has rows of ldc floats.
typedef struct {
  int64_t m, n, k;
  float *c;
  int64_t ldc;
  int accumulate;
} eagle_gemm_block;

// MARK: float32 (gemm.c)

/// C[m, n] = (or +=) A[m, k] B[k, n] by strides in elements.
typedef struct {
  int64_t m, n, k;
  const float *a;
  int64_t a_row, a_column;
  const float *b;
  int64_t b_row, b_column;
  float *c;
  int64_t ldc;
  int accumulate;
} eagle_gemm;
/// The GEMM in plain loops, on the calling thread.
void eagle_gemm_plain(const eagle_gemm *g);

enum {
  EAGLE_GEMM_ROWS = 6,      // of C in registers
  EAGLE_GEMM_COLUMNS = 16,  // the same, and the width of a panel
  EAGLE_GEMM_DEPTH = 320,   // largest k of one block
};

/// Packs up to 16 columns of B [k, n] for eagle_gemm_multiply: panel[p][j], columns beyond n are 0. Either stride is 1.
void eagle_gemm_pack_f32(const float *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                         float *panel);
void eagle_gemm_pack_bf16(const uint16_t *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                          float *panel);
/// Packs m rows of A [m, k] for eagle_gemm_multiply: panels of 6 rows, [k][6] each, rows beyond m are 0. Either stride
/// is 1.
void eagle_gemm_pack_rows(const float *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                          float *block);
/// Computes a block of C from packed panels of A and of B, each one after the other, k <= EAGLE_GEMM_DEPTH.
void eagle_gemm_multiply(const float *a, const float *b, const eagle_gemm_block *block);

// MARK: float32 (gemm_f32x16.c), for processors with AVX-512 alone

enum {
  EAGLE_GEMM_X16_ROWS = 12,
  EAGLE_GEMM_X16_COLUMNS = 32,
  EAGLE_GEMM_X16_DEPTH = 384,
};

/// Packs up to 32 columns of B [k, n] for eagle_gemm_x16_multiply: panel[p][j], columns beyond n are 0. Either stride
/// is 1. Elements are float32, bfloat16, or float32 that is rounded to bfloat16.
void eagle_gemm_x16_pack_columns_f32(const float *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                                     float *panel);
void eagle_gemm_x16_pack_columns_bf16(const uint16_t *b, int64_t row_stride, int64_t column_stride, int64_t k,
                                      int64_t n, float *panel);
void eagle_gemm_x16_pack_columns_rounded(const float *b, int64_t row_stride, int64_t column_stride, int64_t k,
                                         int64_t n, float *panel);
/// Packs m rows of A [m, k] for eagle_gemm_x16_multiply: panels of 12 rows, [k][12] each, rows beyond m are 0, and may
/// write to four words after them. Either stride is 1.
void eagle_gemm_x16_pack_rows_f32(const float *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                                  float *block);
void eagle_gemm_x16_pack_rows_bf16(const uint16_t *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                                   float *block);
void eagle_gemm_x16_pack_rows_rounded(const float *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                                      float *block);
/// Computes a block of C from packed panels of A and of B, each one after the other.
void eagle_gemm_x16_multiply(const float *a, const float *b, const eagle_gemm_block *block);

// MARK: bfloat16 (gemm_bf16.c), for processors with AVX512-BF16 alone

enum {
  EAGLE_GEMM_BF16_ROWS = 12,
  EAGLE_GEMM_BF16_COLUMNS = 32,
  EAGLE_GEMM_BF16_DEPTH = 576,
};

/// Packs up to 32 columns of B [k, n] for eagle_gemm_bf16_multiply: panel[p][j] holds b[2p, j] in its low half and b[2p
/// + 1, j] in its high one, 0 beyond n and k. Either stride is 1.
void eagle_gemm_bf16_pack_columns(const uint16_t *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                                  uint32_t *panel);
/// Packs m rows of A [m, k] for eagle_gemm_bf16_multiply: panels of 12 rows, [ceil(k/2)][12] such words each, and may
/// write to four words after them. Either stride is 1.
void eagle_gemm_bf16_pack_rows(const uint16_t *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                               uint32_t *block);
/// The same for float32 elements, which are rounded as they are packed.
void eagle_gemm_bf16_pack_columns_f32(const float *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                                      uint32_t *panel);
void eagle_gemm_bf16_pack_rows_f32(const float *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                                   uint32_t *block);
/// Computes a block of C, of float32, from packed panels of A and of B, each one after the other.
void eagle_gemm_bf16_multiply(const uint32_t *a, const uint32_t *b, const eagle_gemm_block *block);

#endif
