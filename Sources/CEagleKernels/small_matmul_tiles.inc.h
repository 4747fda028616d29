// One pass of the small-M matmul over tiles. A variant's file includes it after
//
//   #define NAME ...        the function of the variant
//   #define ATTRIBUTES ...  its attributes
//   #define HAS_VNNI 0      whether four products of bytes are added to 32 bits at once
//   #define TILES 1         tiles in a vector: 1 in 256 bits, 2 in 512

#include "tile_vectors.inc.h"

enum { TILE_PREFETCH_BYTES = 8192 };

// MARK: products

INLINE integers four(const int8_t *q) {
  int32_t word;
  memcpy(&word, q, sizeof word);
  return (integers){0} + word;
}

/// Where the sum of products of half h of a group begins, or of all of it.
INLINE integers first_sum(eagle_weight_type type, const quantized_group *x, int h) {
  switch (offset_bits(type)) {
    case 3: return (integers){0} + x->offset_8;
    case 4: return (integers){0} + x->offset_16;
    case 5: return (integers){0} + x->half_offset_32[h];
    case 7: return (integers){0} + x->offset_128;
    default: return (integers){0};
  }
}

#if HAS_VNNI
/// sum + the products of four bytes in each lane.
INLINE integers add_fours(integers sum, bytes w, integers x) {
  return (integers)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x);
}

/// sums[m] = the sum of products of half h of a group, or of all of it where `count` is 8, for each row. Independent
/// sums are interleaved, two for a row where there are few, since each instruction waits four cycles for the one
/// before.
INLINE void add_integers(eagle_weight_type type, const bytes w[8], const quantized_group *x, const int rows,
                         const int h, const int count, integers sums[MAX_TILE_ROWS]) {
  integers others[MAX_TILE_ROWS];
  const int chains = rows <= 2 ? 2 : 1;
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    sums[m] = first_sum(type, x + m, h);
    others[m] = (integers){0};
  }
#pragma clang loop unroll(full)
  for (int v = 4 * h; v < 4 * h + count; v += chains)
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) {
      sums[m] = add_fours(sums[m], w[v], four(x[m].q + 4 * v));
      if (chains == 2) others[m] = add_fours(others[m], w[v + 1], four(x[m].q + 4 * v + 4));
    }
  if (chains == 2)
    for (int m = 0; m < rows; m++) sums[m] += others[m];
}
#else
/// The same of one row.
INLINE integers add_row(eagle_weight_type type, const bytes w[8], const int8_t *q, const int first, const int count,
                        integers sum) {
  // As many vectors as leave the sums of their products below 2^15.
  const int bits = type == EAGLE_WEIGHTS_MXFP4 ? 5 : element_bits(type);
  const int together = is_wide(type) ? 1 : bits == 6 ? 2 : bits == 5 ? 4 : 8;
#pragma clang loop unroll(full)
  for (int v = first; v < first + count; v += together) {
    pairs products = {0};
#pragma clang loop unroll(full)
    for (int i = v; i < v + together && i < first + count; i++) {
      __m256i x = (__m256i)four(q + 4 * i), elements = (__m256i)w[i];
      products += (pairs)(is_wide(type) ? _mm256_maddubs_epi16(_mm256_abs_epi8(elements), _mm256_sign_epi8(x, elements))
                                        : _mm256_maddubs_epi16(elements, x));
    }
    sum += (integers)_mm256_madd_epi16((__m256i)products, _mm256_set1_epi16(1));
  }
  return sum;
}

INLINE void add_integers(eagle_weight_type type, const bytes w[8], const quantized_group *x, const int rows,
                         const int h, const int count, integers sums[MAX_TILE_ROWS]) {
  for (int m = 0; m < rows; m++) sums[m] = add_row(type, w, x[m].q, 4 * h, count, first_sum(type, x + m, h));
}
#endif

/// totals[m] += the products of half h of a group, or of all of it where `count` is 8, for each row.
INLINE void add_products(eagle_weight_type type, const bytes w[8], const quantized_group *x, const int rows,
                         floats scale, const int h, const int count, floats *totals) {
  integers sums[MAX_TILE_ROWS];
  add_integers(type, w, x, rows, h, count, sums);
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++)
    totals[m] = __builtin_elementwise_fma(to_floats(sums[m]), scale * x[m].scale, totals[m]);
}

/// The outputs of one tile, or of two, for some rows.
INLINE void multiply_tile(eagle_weight_type type, const uint8_t *tile, int64_t next, int64_t k,
                          const quantized_group *x, int64_t stride, const int rows, floats *totals) {
  bytes w[8], table = has_table(type) ? table_of(type) : (bytes){0};
  floats d = {0}, minimum = {0};
  for (int m = 0; m < rows; m++) totals[m] = (floats){0};
  for (int64_t g = 0; g < k / GROUP; g++) {
    if (is_long(type) && g % 8 == 0) {
      d = load_halves(tile, next);
      if (has_minimum(type)) minimum = -load_halves(tile + 2 * TILE, next);
      tile += tile_header_bytes(type);
    }
    for (int line = 0; line < tile_group_bytes(type); line += 64) {
      EAGLE_PREFETCH(tile + TILE_PREFETCH_BYTES + line);
      if (TILES == 2) EAGLE_PREFETCH(tile + next + TILE_PREFETCH_BYTES + line);
    }
    tile_scales s = scales_of(type, tile, next, d, minimum);
    unpack(type, tile + tile_scale_bytes(type), next, table, w);
    tile += tile_group_bytes(type);
    const quantized_group *group = x + g * stride;
    if (type == EAGLE_WEIGHTS_Q6_K) {
      for (int h = 0; h < 2; h++) add_products(type, w, group, rows, s.scale[h], h, 4, totals);
    } else {
      add_products(type, w, group, rows, s.scale[0], 0, 8, totals);
    }
    if (has_minimum(type))
      for (int m = 0; m < rows; m++)
        totals[m] = __builtin_elementwise_fma(s.minimum, (floats){0} + group[m].scaled_sum, totals[m]);
  }
}

/// All tiles of a pass. The last one of an odd number fills both halves of a vector.
INLINE void multiply_tiles(eagle_weight_type type, const eagle_small_matmul *a, int64_t first, const int rows,
                           int64_t begin, int64_t end) {
  int64_t size = tile_bytes(type, a->k);
  for (int64_t n = (begin + TILE - 1) / TILE * TILE; n < end; n += TILES * TILE) {
    const uint8_t *tile = (const uint8_t *)a->w + n / TILE * size;
    int has_next = n + TILE < end;
    floats totals[MAX_TILE_ROWS];
    multiply_tile(type, tile, has_next ? size : 0, a->k, (const quantized_group *)a->x + first, a->rows, rows, totals);
    int64_t most = TILES == 2 && has_next ? 2 * TILE : TILE;
    int64_t count = a->outputs - n < most ? a->outputs - n : most;
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) {
      float *y = a->y + (first + m) * a->y_stride + n, values[TILES * TILE];
      memcpy(values, totals + m, sizeof values);
      for (int64_t o = 0; o < count; o++) y[o] = values[o] + (a->bias ? a->bias[n + o] : 0.0f);
    }
  }
}

/// The pass for each number of rows, compiled by itself.
INLINE void multiply_rows(eagle_weight_type type, const eagle_small_matmul *a, int64_t first, int64_t rows,
                          int64_t begin, int64_t end) {
  switch (rows) {
    case 1: return multiply_tiles(type, a, first, 1, begin, end);
    case 2: return multiply_tiles(type, a, first, 2, begin, end);
    case 3: return multiply_tiles(type, a, first, 3, begin, end);
    case 4: return multiply_tiles(type, a, first, 4, begin, end);
    case 5: return multiply_tiles(type, a, first, 5, begin, end);
    case 6: return multiply_tiles(type, a, first, 6, begin, end);
    case 7: return multiply_tiles(type, a, first, 7, begin, end);
    case 8: return multiply_tiles(type, a, first, 8, begin, end);
    default: return multiply_tiles(type, a, first, 9, begin, end);
  }
}

#define MULTIPLY(type) \
  case type: return multiply_rows(type, a, first, rows, begin, end);

ATTRIBUTES void NAME(const eagle_small_matmul *a, int64_t first, int64_t rows, int64_t begin, int64_t end) {
  switch (a->type) {
    EACH_TILE_TYPE(MULTIPLY)
    default: return;
  }
}
