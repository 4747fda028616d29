#include "include/CEagleKernels.h"

#include <string.h>
#include "dispatch.h"

// The pieces of a float32 product C[m, n] (+)= A[m, k] B[k, n], in the order of Goto and van de Geijn: B is packed into
// panels of 16 columns that stay in the first-level cache, A into panels of 6 rows whose blocks stay in the second, and 6 rows
// by 16 columns of C stay in registers while k runs. Whoever cuts C into blocks does not change a bit of it: every element
// adds up its products in the order of k, and the pieces of k in their order.

#define TILE_ROWS EAGLE_GEMM_ROWS
#define TILE_COLUMNS EAGLE_GEMM_COLUMNS

typedef float vec __attribute__((vector_size(32)));
typedef float vec_unaligned __attribute__((vector_size(32), aligned(4)));
typedef uint16_t halves_unaligned __attribute__((vector_size(16), aligned(2)));
typedef uint32_t words __attribute__((vector_size(32)));

// Macros, since a vector must not be passed between functions of different instruction sets.
#define load_vec_float(p) (*(const vec_unaligned *)(p))
#define load_vec_uint16_t(p) ((vec)(__builtin_convertvector(*(const halves_unaligned *)(p), words) << 16))
#define store_vec(p, v) (*(vec_unaligned *)(p) = (v))

EAGLE_INLINE float widen_float(float x) { return x; }

EAGLE_INLINE float widen_uint16_t(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/// r[0..7] are rows of eight; afterwards they are the columns.
EAGLE_INLINE void transpose(vec r[8]) {
  vec t[8], u[8];
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

// panel[p][j] = b[p, j] for p in [0, k), j in [0, n), n <= 16; columns beyond n are 0. Either stride is 1.
#define DEFINE_PACK(name, type)                                                                                  \
  EAGLE_DISPATCHED                                                                                               \
  void name(const type *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n, float *panel) {      \
    int64_t p = 0;                                                                                               \
    if (n == TILE_COLUMNS && column_stride == 1) {                                                               \
      for (; p < k; p++)                                                                                         \
        for (int j = 0; j < TILE_COLUMNS; j += 8)                                                                \
          store_vec(panel + p * TILE_COLUMNS + j, load_vec_##type(b + p * row_stride + j));                      \
      return;                                                                                                    \
    }                                                                                                            \
    if (n == TILE_COLUMNS && row_stride == 1)                                                                    \
      for (; p + 8 <= k; p += 8)                                                                                 \
        for (int half = 0; half < TILE_COLUMNS; half += 8) {                                                     \
          vec r[8];                                                                                              \
          for (int j = 0; j < 8; j++) r[j] = load_vec_##type(b + (half + j) * column_stride + p);                \
          transpose(r);                                                                                          \
          for (int i = 0; i < 8; i++) store_vec(panel + (p + i) * TILE_COLUMNS + half, r[i]);                    \
        }                                                                                                        \
    for (; p < k; p++)                                                                                           \
      for (int64_t j = 0; j < TILE_COLUMNS; j++)                                                                 \
        panel[p * TILE_COLUMNS + j] = j < n ? widen_##type(b[p * row_stride + j * column_stride]) : 0;           \
  }

DEFINE_PACK(eagle_gemm_pack_f32, float)
DEFINE_PACK(eagle_gemm_pack_bf16, uint16_t)

/// Six rows of eight, transposed and written as eight groups of six. Each store spills two floats into the next group, which
/// is written after it.
EAGLE_INLINE void pack_six(const float *a, int64_t row_stride, float *to) {
  vec r[8];
  for (int i = 0; i < TILE_ROWS; i++) r[i] = load_vec_float(a + i * row_stride);
  r[6] = r[7] = (vec){0};
  transpose(r);
  for (int i = 0; i < 8; i++) store_vec(to + i * TILE_ROWS, r[i]);
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

/// sum[i][h] = products of a packed panel of A, [k][6], with one of B, [k][16].
EAGLE_INLINE void multiply_tile(const float *a, const float *b, int64_t k, vec sum[TILE_ROWS][2]) {
  for (int i = 0; i < TILE_ROWS; i++) sum[i][0] = sum[i][1] = (vec){0};
#pragma clang loop unroll_count(4)
  for (int64_t p = 0; p < k; p++) {
    vec low = load_vec_float(b + p * TILE_COLUMNS), high = load_vec_float(b + p * TILE_COLUMNS + 8);
#pragma clang loop unroll(full)
    for (int i = 0; i < TILE_ROWS; i++) {
      float x = a[p * TILE_ROWS + i];
      vec all = {x, x, x, x, x, x, x, x};
      sum[i][0] += all * low;
      sum[i][1] += all * high;
    }
  }
}

EAGLE_INLINE void write_tile(vec sum[TILE_ROWS][2], float *c, int64_t ldc, int accumulate) {
  for (int i = 0; i < TILE_ROWS; i++)
    for (int h = 0; h < 2; h++) {
      float *to = c + i * ldc + 8 * h;
      store_vec(to, accumulate ? load_vec_float(to) + sum[i][h] : sum[i][h]);
    }
}

/// A tile that hangs over the edge of C.
EAGLE_INLINE void write_edge(vec sum[TILE_ROWS][2], float *c, int64_t ldc, int64_t m, int64_t n, int accumulate) {
  for (int64_t i = 0; i < m; i++) {
    float row[TILE_COLUMNS];
    memcpy(row, sum[i], sizeof row);
    for (int64_t j = 0; j < n; j++) c[i * ldc + j] = accumulate ? c[i * ldc + j] + row[j] : row[j];
  }
}

EAGLE_DISPATCHED
void eagle_gemm_block(const float *a, const float *b, int64_t m, int64_t n, int64_t k, float *c, int64_t ldc,
                      int accumulate) {
  for (int64_t j = 0; j < n; j += TILE_COLUMNS)
    for (int64_t i = 0; i < m; i += TILE_ROWS) {
      vec sum[TILE_ROWS][2];
      float *to = c + i * ldc + j;
      for (int64_t row = i; row < i + TILE_ROWS && row < m; row++) __builtin_prefetch(c + row * ldc + j, 1);
      multiply_tile(a + i * k, b + j * k, k, sum);
      if (m - i >= TILE_ROWS && n - j >= TILE_COLUMNS) write_tile(sum, to, ldc, accumulate);
      else write_edge(sum, to, ldc, m - i < TILE_ROWS ? m - i : TILE_ROWS, n - j < TILE_COLUMNS ? n - j : TILE_COLUMNS,
                      accumulate);
    }
}
