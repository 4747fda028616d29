#include "include/CEagleKernels.h"

#include <string.h>
#include "vector.h"

// The steps of a float32 GEMM C[m, n] (+)= A[m, k] B[k, n] after Goto and van de Geijn: B is packed into panels of 16
// columns that stay in the L1 cache, A into panels of 6 rows whose blocks stay in L2, and 6 rows by 16 columns of C
// stay in registers while k runs. The division of C into blocks does not change a bit of it: every element adds its
// products in the order of k, and the blocks of k in their order.

#define TILE_ROWS EAGLE_GEMM_ROWS
#define TILE_COLUMNS EAGLE_GEMM_COLUMNS

typedef uint16_t u16x8_unaligned __attribute__((vector_size(16), aligned(2)));

EAGLE_INLINE void store8(float *p, f32x8 v) { *(f32x8_unaligned *)p = v; }

// MARK: the plain form

void eagle_gemm_plain(const eagle_gemm *g) {
  for (int64_t i = 0; i < g->m; i++)
    for (int64_t j = 0; j < g->n; j++) {
      float sum = 0;
      for (int64_t p = 0; p < g->k; p++)
        sum += g->a[i * g->a_row + p * g->a_column] * g->b[p * g->b_row + j * g->b_column];
      float *c = g->c + i * g->ldc + j;
      *c = g->accumulate ? *c + sum : sum;
    }
}

// MARK: packing

/// r[0..7] are rows of eight; afterwards they are the columns.
EAGLE_INLINE void transpose(f32x8 r[8]) {
  f32x8 t[8], u[8];
  for (int i = 0; i < 4; i++) {
    t[2 * i] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[2 * i + 1] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++) {
      u[4 * i + 2 * j] = __builtin_shufflevector(t[4 * i + j], t[4 * i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      u[4 * i + 2 * j + 1] = __builtin_shufflevector(t[4 * i + j], t[4 * i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; i++) {
    r[i] = __builtin_shufflevector(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = __builtin_shufflevector(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

// B's elements, by the type that they are packed from.
EAGLE_INLINE f32x8 load_b(const void *b, int is_bf16, int64_t i) {
  if (!is_bf16) return load8((const float *)b + i);
  u32x8 words = __builtin_convertvector(*(const u16x8_unaligned *)((const uint16_t *)b + i), u32x8);
  return (f32x8)(words << 16);
}

EAGLE_INLINE float b_at(const void *b, int is_bf16, int64_t i) {
  return is_bf16 ? widen_bf16(((const uint16_t *)b)[i]) : ((const float *)b)[i];
}

/// panel[p][j] = b[p, j] for p in [0, k), j in [0, n), n <= 16; columns beyond n are 0. Either stride is 1.
EAGLE_INLINE void pack_columns(const void *b, int is_bf16, int64_t row_stride, int64_t column_stride, int64_t k,
                               int64_t n, float *panel) {
  int64_t p = 0;
  if (n == TILE_COLUMNS && column_stride == 1) {
    for (; p < k; p++)
      for (int j = 0; j < TILE_COLUMNS; j += 8)
        store8(panel + p * TILE_COLUMNS + j, load_b(b, is_bf16, p * row_stride + j));
    return;
  }
  if (n == TILE_COLUMNS && row_stride == 1)
    for (; p + 8 <= k; p += 8)
      for (int half = 0; half < TILE_COLUMNS; half += 8) {
        f32x8 r[8];
        for (int j = 0; j < 8; j++) r[j] = load_b(b, is_bf16, (half + j) * column_stride + p);
        transpose(r);
        for (int i = 0; i < 8; i++) store8(panel + (p + i) * TILE_COLUMNS + half, r[i]);
      }
  for (; p < k; p++)
    for (int64_t j = 0; j < TILE_COLUMNS; j++)
      panel[p * TILE_COLUMNS + j] = j < n ? b_at(b, is_bf16, p * row_stride + j * column_stride) : 0;
}

EAGLE_DISPATCHED
void eagle_gemm_pack_f32(const float *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                         float *panel) {
  pack_columns(b, 0, row_stride, column_stride, k, n, panel);
}

EAGLE_DISPATCHED
void eagle_gemm_pack_bf16(const uint16_t *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                          float *panel) {
  pack_columns(b, 1, row_stride, column_stride, k, n, panel);
}

/// Six rows of eight, transposed and written as eight groups of six. Each store spills two floats into the next group,
/// which is written after it.
EAGLE_INLINE void pack_six(const float *a, int64_t row_stride, float *to) {
  f32x8 r[8];
  for (int i = 0; i < TILE_ROWS; i++) r[i] = load8(a + i * row_stride);
  r[6] = r[7] = (f32x8){0};
  transpose(r);
  for (int i = 0; i < 8; i++) store8(to + i * TILE_ROWS, r[i]);
}

EAGLE_DISPATCHED
void eagle_gemm_pack_rows(const float *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                          float *block) {
  for (int64_t first = 0; first < m; first += TILE_ROWS, block += k * TILE_ROWS) {
    int64_t rows = m - first < TILE_ROWS ? m - first : TILE_ROWS, p = 0;
    const float *from = a + first * row_stride;
    if (rows == TILE_ROWS && column_stride == 1)
      for (; p + 8 < k; p += 8) pack_six(from + p, row_stride, block + p * TILE_ROWS);
    if (rows == TILE_ROWS && row_stride == 1)
      for (; p < k; p++) memcpy(block + p * TILE_ROWS, from + p * column_stride, 4 * TILE_ROWS);
    for (; p < k; p++)
      for (int64_t i = 0; i < TILE_ROWS; i++)
        block[p * TILE_ROWS + i] = i < rows ? from[i * row_stride + p * column_stride] : 0;
  }
}

// MARK: tiles

/// sum[i][h] = the product of a packed panel of A, [k][6], with one of B, [k][16].
EAGLE_INLINE void multiply_tile(const float *a, const float *b, int64_t k, f32x8 sum[TILE_ROWS][2]) {
  for (int i = 0; i < TILE_ROWS; i++) sum[i][0] = sum[i][1] = (f32x8){0};
#pragma clang loop unroll_count(4)
  for (int64_t p = 0; p < k; p++) {
    f32x8 low = load8(b + p * TILE_COLUMNS), high = load8(b + p * TILE_COLUMNS + 8);
#pragma clang loop unroll(full)
    for (int i = 0; i < TILE_ROWS; i++) {
      float x = a[p * TILE_ROWS + i];
      f32x8 all = {x, x, x, x, x, x, x, x};
      sum[i][0] += all * low;
      sum[i][1] += all * high;
    }
  }
}

EAGLE_INLINE void write_tile(f32x8 sum[TILE_ROWS][2], float *c, int64_t ldc, int accumulate) {
  for (int i = 0; i < TILE_ROWS; i++)
    for (int h = 0; h < 2; h++) {
      float *to = c + i * ldc + 8 * h;
      store8(to, accumulate ? load8(to) + sum[i][h] : sum[i][h]);
    }
}

/// A tile that extends beyond the edge of C.
EAGLE_INLINE void write_edge(f32x8 sum[TILE_ROWS][2], float *c, int64_t ldc, int64_t m, int64_t n, int accumulate) {
  for (int64_t i = 0; i < m; i++) {
    float row[TILE_COLUMNS];
    memcpy(row, sum[i], sizeof row);
    for (int64_t j = 0; j < n; j++) c[i * ldc + j] = accumulate ? c[i * ldc + j] + row[j] : row[j];
  }
}

EAGLE_DISPATCHED
void eagle_gemm_multiply(const float *a, const float *b, const eagle_gemm_block *block) {
  int64_t m = block->m, n = block->n, k = block->k, ldc = block->ldc;
  float *c = block->c;
  int accumulate = block->accumulate;
  for (int64_t j = 0; j < n; j += TILE_COLUMNS)
    for (int64_t i = 0; i < m; i += TILE_ROWS) {
      f32x8 sum[TILE_ROWS][2];
      float *to = c + i * ldc + j;
      for (int64_t row = i; row < i + TILE_ROWS && row < m; row++) __builtin_prefetch(c + row * ldc + j, 1);
      multiply_tile(a + i * k, b + j * k, k, sum);
      if (m - i >= TILE_ROWS && n - j >= TILE_COLUMNS) write_tile(sum, to, ldc, accumulate);
      else write_edge(sum, to, ldc, m - i < TILE_ROWS ? m - i : TILE_ROWS, n - j < TILE_COLUMNS ? n - j : TILE_COLUMNS,
                      accumulate);
    }
}
