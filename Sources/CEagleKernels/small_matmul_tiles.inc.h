// One pass of the small-M matmul over tiles, in vectors of 256 bits. A variant's file includes it behind
//
//   #define NAME ...        the function of the variant
//   #define ATTRIBUTES ...  its attributes
//   #define HAS_VNNI 0      whether four products of bytes are added to 32 bits at once

#include "tile_vectors.inc.h"

enum { TILE_PREFETCH_BYTES = 4096 };

// MARK: products

INLINE __m256i four(const int8_t *q) {
  int32_t word;
  memcpy(&word, q, sizeof word);
  return _mm256_set1_epi32(word);
}

/// The sums of products of `count` vectors from `first` on with their elements of x.
INLINE __m256i sum_products(eagle_weight_type type, const __m256i w[8], const int8_t *q, const int first, const int count) {
#if HAS_VNNI
  __m256i sum = _mm256_setzero_si256(), other = sum;
  for (int v = first; v < first + count; v += 2) {
    sum = _mm256_dpbusd_epi32(sum, w[v], four(q + 4 * v));
    other = _mm256_dpbusd_epi32(other, w[v + 1], four(q + 4 * v + 4));
  }
  return _mm256_add_epi32(sum, other);
#else
  // As many vectors as leave the sums of their products below 2^15.
  const int together = is_wide(type) ? 1 : element_bits(type) == 6 ? 2 : type == EAGLE_WEIGHTS_MXFP4 || element_bits(type) == 5 ? 4 : 8;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sum = _mm256_setzero_si256();
#pragma clang loop unroll(full)
  for (int v = first; v < first + count; v += together) {
    __m256i pairs;
#pragma clang loop unroll(full)
    for (int i = v; i < v + together && i < first + count; i++) {
      __m256i x = four(q + 4 * i);
      __m256i products = is_wide(type) ? _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]), _mm256_sign_epi8(x, w[i]))
                                       : _mm256_maddubs_epi16(w[i], x);
      pairs = i == v ? products : _mm256_add_epi16(pairs, products);
    }
    __m256i part = _mm256_madd_epi16(pairs, ones);
    sum = v == first ? part : _mm256_add_epi32(sum, part);
  }
  return sum;
#endif
}

/// total += the products of half h of a group, or of all of it where `count` is 8.
INLINE __m256 add_products(eagle_weight_type type, const __m256i w[8], const quantized_group *x, __m256 scale, const int h,
                           const int count, __m256 total) {
  __m256i sum = sum_products(type, w, x->q, 4 * h, count);
  if (offset_bits(type) >= 0) {
    __m256i of_x = _mm256_set1_epi32(count == 8 ? x->sum : x->halves[h]);
    sum = _mm256_sub_epi32(sum, _mm256_slli_epi32(of_x, offset_bits(type)));
  }
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(scale, _mm256_set1_ps(x->scale)), total);
}

/// One tile: its 8 outputs for some rows.
INLINE void multiply_tile(eagle_weight_type type, const uint8_t *tile, int64_t k, const quantized_group *x,
                          int64_t stride, int64_t rows, __m256 *totals) {
  __m256i w[8], table = has_table(type) ? table_of(type) : _mm256_setzero_si256();
  __m256 d = _mm256_setzero_ps(), minimum = d;
  for (int64_t m = 0; m < rows; m++) totals[m] = _mm256_setzero_ps();
  for (int64_t g = 0; g < k / GROUP; g++) {
    if (is_long(type) && g % 8 == 0) {
      d = load_halves(tile);
      if (has_minimum(type)) minimum = _mm256_sub_ps(_mm256_setzero_ps(), load_halves(tile + 2 * TILE));
      tile += tile_header_bytes(type);
    }
    for (int line = 0; line < tile_group_bytes(type); line += 64) __builtin_prefetch(tile + TILE_PREFETCH_BYTES + line);
    tile_scales s = scales_of(type, tile, d, minimum);
    unpack(type, tile + tile_scale_bytes(type), table, w);
    tile += tile_group_bytes(type);
    for (int64_t m = 0; m < rows; m++) {
      const quantized_group *group = x + g * stride + m;
      __m256 total = totals[m];
      if (type == EAGLE_WEIGHTS_Q6_K) {
        total = add_products(type, w, group, s.scale[0], 0, 4, total);
        total = add_products(type, w, group, s.scale[1], 1, 4, total);
      } else {
        total = add_products(type, w, group, s.scale[0], 0, 8, total);
      }
      if (has_minimum(type)) total = _mm256_fmadd_ps(s.minimum, _mm256_set1_ps(group->scaled_sum), total);
      totals[m] = total;
    }
  }
}

/// All tiles of a pass.
INLINE void multiply_tiles(eagle_weight_type type, const eagle_small_matmul *a, int64_t first, int64_t rows,
                           int64_t begin, int64_t end) {
  __m256 totals[MAX_TILE_ROWS];
  int64_t bytes = tile_bytes(type, a->k);
  for (int64_t n = (begin + TILE - 1) / TILE * TILE; n < end; n += TILE) {
    const uint8_t *tile = (const uint8_t *)a->w + n / TILE * bytes;
    multiply_tile(type, tile, a->k, (const quantized_group *)a->x + first, a->rows, rows, totals);
    int64_t count = a->outputs - n < TILE ? a->outputs - n : TILE;
    for (int64_t m = 0; m < rows; m++) {
      float *y = a->y + (first + m) * a->y_stride + n, values[TILE];
      memcpy(values, totals + m, sizeof values);
      for (int64_t o = 0; o < count; o++) y[o] = values[o] + (a->bias ? a->bias[n + o] : 0.0f);
    }
  }
}

#define MULTIPLY(type) \
  case type: return multiply_tiles(type, a, first, rows, begin, end);

ATTRIBUTES void NAME(const eagle_small_matmul *a, int64_t first, int64_t rows, int64_t begin, int64_t end) {
  switch (a->type) {
    EACH_TILE_TYPE(MULTIPLY)
    default: return;
  }
}
