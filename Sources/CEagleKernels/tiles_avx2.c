#include "tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define ATTRIBUTES __attribute__((target("avx2,fma,f16c")))
#define HAS_VNNI 0
#define TILES 1
#include "tile_vectors.inc.h"

// Tiles to float32. As in blocks.c, the format specifies every rounding.
#pragma clang fp contract(off)

/// Eight elements, of two outputs, from bytes that hold four of each.
INLINE __m256 widen(eagle_weight_type type, const uint8_t *elements) {
  __m128i eight = _mm_loadl_epi64((const __m128i *)elements);
  if (is_wide(type)) return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight));
  int offset = offset_bits(type) < 0 ? 0 : 1 << offset_bits(type);
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_cvtepu8_epi32(eight), _mm256_set1_epi32(offset)));
}

INLINE __m256 each_four(const float *two) { return _mm256_set_m128(_mm_set1_ps(two[1]), _mm_set1_ps(two[0])); }

/// One group: y[o][32] for eight outputs, `stride` apart.
INLINE void decode_group(eagle_weight_type type, const uint8_t *tile, bytes table, floats d, floats minimum, float *y,
                         int64_t stride) {
  bytes w[8];
  uint8_t elements[8][32];
  float scale[2][TILE], least[TILE];
  tile_scales s = scales_of(type, tile, 0, d, minimum);
  unpack(type, tile + tile_scale_bytes(type), 0, table, w);
  memcpy(elements, w, sizeof elements);
  memcpy(scale, s.scale, sizeof scale);
  memcpy(least, &s.minimum, sizeof least);
  for (int v = 0; v < 8; v++)
    for (int o = 0; o < TILE; o += 2) {
      __m256 scales = each_four(scale[type == EAGLE_WEIGHTS_Q6_K ? v / 4 : 0] + o);
      __m256 value = _mm256_mul_ps(scales, widen(type, elements[v] + 4 * o));
      if (has_minimum(type)) value = _mm256_add_ps(value, each_four(least + o));
      _mm_storeu_ps(y + o * stride + 4 * v, _mm256_castps256_ps128(value));
      _mm_storeu_ps(y + (o + 1) * stride + 4 * v, _mm256_extractf128_ps(value, 1));
    }
}

INLINE void decode_tile(eagle_weight_type type, const uint8_t *tile, int64_t outputs, int64_t k, float *y) {
  bytes table = has_table(type) ? table_of(type) : (bytes){0};
  floats d = {0}, minimum = {0};
  for (int64_t g = 0; g < k / GROUP; g++) {
    if (is_long(type) && g % 8 == 0) {
      d = load_halves(tile, 0);
      if (has_minimum(type)) minimum = -load_halves(tile + 2 * TILE, 0);
      tile += tile_header_bytes(type);
    }
    if (outputs == TILE) {
      decode_group(type, tile, table, d, minimum, y + g * GROUP, k);
    } else {
      float all[TILE * GROUP];
      decode_group(type, tile, table, d, minimum, all, GROUP);
      for (int64_t o = 0; o < outputs; o++) memcpy(y + o * k + g * GROUP, all + o * GROUP, GROUP * sizeof *y);
    }
    tile += tile_group_bytes(type);
  }
}

#define DECODE(type) \
  case type: return decode_tile(type, tile, outputs, k, y);

ATTRIBUTES void eagle_tile_decode(eagle_weight_type type, const void *tile, int64_t outputs, int64_t k, float *y) {
  switch (type) {
    EACH_TILE_TYPE(DECODE)
    default: return;
  }
}
#else
void eagle_tile_decode(eagle_weight_type type, const void *tile, int64_t outputs, int64_t k, float *y) {}
#endif
