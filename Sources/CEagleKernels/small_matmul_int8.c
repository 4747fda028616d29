#include "small_matmul_int8.h"

// The small-M matmul with 8-bit weights, y[m][n] = x_scale[m] w_scale[n] sum_k x[m][k] w[n][k], x in 16 bits: the sums
// are integers, so no order of additions changes them, and all variants give the bits of the plain form.

static void matmul_plain(const eagle_small_matmul *a, int64_t begin, int64_t end) {
  const int16_t *x = a->x;
  const int8_t *w = a->w;
  for (int64_t n = begin; n < end; n++)
    for (int64_t m = 0; m < a->rows; m++) {
      int32_t sum = 0;
      for (int64_t i = 0; i < a->k; i++) sum += x[m * a->k + i] * w[n * a->k + i];
      a->y[m * a->y_stride + n] = scale_sum(sum, a->x_scales[m], a->w_scales[n], a->bias, n);
    }
}

#if defined(__x86_64__)
// Blocks of rows and outputs in registers, prefetched weights, chunks of weights that stay in the cache for further
// rows: as in the variants of small_matmul.c.

enum { CHUNK_BYTES = 32768, MIN_CHUNK = 12, AVX2_PREFETCH_BYTES = 4096, VNNI_PREFETCH_BYTES = 8192 };

typedef struct {
  int64_t (*run)(int8_operands a, int64_t rows_left, int64_t n, int64_t end);
  int64_t max_rows;
  int64_t distance;  // of the prefetch, where one pass does all rows
} int8_pass;

/// Outputs that about fill a chunk.
static int64_t chunk_outputs(int64_t k) {
  int64_t outputs = CHUNK_BYTES / (k + 1) / MIN_CHUNK * MIN_CHUNK;
  return outputs < MIN_CHUNK ? MIN_CHUNK : outputs;
}

static void matmul_in_chunks(int8_pass pass, const eagle_small_matmul *m, int64_t begin, int64_t end) {
  int64_t chunk = chunk_outputs(m->k);
  int8_operands all = {m->x, m->x_scales, m->k, m->w, m->w_scales, m->bias, m->y, m->y_stride,
                       m->rows <= pass.max_rows ? pass.distance : chunk * m->k};
  for (int64_t n = begin; n < end; n += chunk) {
    int8_operands a = all;
    for (int64_t row = 0, rows; row < m->rows; row += rows) {
      rows = pass.run(a, m->rows - row, n, n + chunk < end ? n + chunk : end);
      a.x += rows * a.k;
      a.x_scales += rows;
      a.y += rows * a.y_stride;
    }
  }
}
#endif

static eagle_int8_variant best_variant(void) {
  if (eagle_cpu_has_avx512_vnni()) return EAGLE_INT8_VNNI;
  return eagle_cpu_has_avx2() ? EAGLE_INT8_AVX2 : EAGLE_INT8_PLAIN;
}

void eagle_small_matmul_int8(eagle_int8_variant variant, const eagle_small_matmul *a, int64_t begin, int64_t end) {
  if (variant == EAGLE_INT8_BEST) variant = best_variant();
#if defined(__x86_64__)
  if (variant == EAGLE_INT8_VNNI)
    return matmul_in_chunks((int8_pass){eagle_int8_pass_vnni, 8, VNNI_PREFETCH_BYTES}, a, begin, end);
  if (variant == EAGLE_INT8_AVX2)
    return matmul_in_chunks((int8_pass){eagle_int8_pass_avx2, 5, AVX2_PREFETCH_BYTES}, a, begin, end);
#endif
  matmul_plain(a, begin, end);
}
