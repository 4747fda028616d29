#include "tiles.h"

// Rows of blocks to tiles: four elements at a time, as words.

EAGLE_INLINE uint32_t word_at(const void *bytes, int i) {
  uint32_t word;
  memcpy(&word, (const char *)bytes + 4 * i, sizeof word);
  return word;
}

enum { LOW_HALVES = 0x0f0f0f0f };

/// 32 codes of four bits, byte i with element i in its bits from `shift` on: word v gets those of 4 v in its low halves
/// and those of 16 + 4 v in its high halves.
EAGLE_INLINE uint32_t nibble_word(const uint8_t codes[32], int v, int shift) {
  return (word_at(codes, v) >> shift & LOW_HALVES) | (word_at(codes, v + 4) >> shift & LOW_HALVES) << 4;
}

/// The bits 4 v + j of a word as bit v of byte j.
EAGLE_INLINE uint32_t transpose_bits(uint32_t bits) {
  uint32_t word = 0;
  for (int j = 0; j < 4; j++) {
    uint32_t x = bits >> j & 0x11111111;
    x = (x | x >> 3) & 0x03030303;
    x = (x | x >> 6) & 0x000f000f;
    word |= (x | x >> 12) << 8 * j & 0xffu << 8 * j;
  }
  return word;
}

/// Word v of the nibbles of group g, of a format with 4 to 6 bits.
EAGLE_INLINE uint32_t element_word(eagle_weight_type type, const void *block, int g, int v) {
  switch (type) {
    case EAGLE_WEIGHTS_Q4_0: case EAGLE_WEIGHTS_IQ4_NL: return word_at(((const block_q4_0 *)block)->nibbles, v);
    case EAGLE_WEIGHTS_Q4_1: return word_at(((const block_q4_1 *)block)->nibbles, v);
    case EAGLE_WEIGHTS_Q5_0: return word_at(((const block_q5_0 *)block)->nibbles, v);
    case EAGLE_WEIGHTS_Q5_1: return word_at(((const block_q5_1 *)block)->nibbles, v);
    case EAGLE_WEIGHTS_MXFP4: return word_at(((const block_mxfp4 *)block)->nibbles, v);
    case EAGLE_WEIGHTS_IQ4_XS: return word_at(((const block_iq4_xs *)block)->nibbles + 16 * g, v);
    case EAGLE_WEIGHTS_Q4_K: return nibble_word(((const block_q4_k *)block)->q + g / 2 * 32, v, 4 * (g % 2));
    case EAGLE_WEIGHTS_Q5_K: return nibble_word(((const block_q5_k *)block)->q + g / 2 * 32, v, 4 * (g % 2));
    case EAGLE_WEIGHTS_Q6_K:
      return nibble_word(((const block_q6_k *)block)->low + g / 4 * 64 + g % 2 * 32, v, g % 4 / 2 * 4);
    default: return 0;
  }
}

/// Word i of the further bits of group g.
EAGLE_INLINE uint32_t high_word(eagle_weight_type type, const void *block, int g, int i) {
  uint32_t word = 0;
  switch (type) {
    case EAGLE_WEIGHTS_Q5_0: return transpose_bits(word_at(((const block_q5_0 *)block)->high, 0));
    case EAGLE_WEIGHTS_Q5_1: return transpose_bits(word_at(((const block_q5_1 *)block)->high, 0));
    case EAGLE_WEIGHTS_Q5_K:
      for (int v = 0; v < 8; v++) word |= (word_at(((const block_q5_k *)block)->high, v) >> g & 0x01010101) << v;
      return word;
    case EAGLE_WEIGHTS_Q6_K:
      for (int v = 0; v < 4; v++)
        word |= (word_at(((const block_q6_k *)block)->high + g / 4 * 32, 4 * i + v) >> 2 * (g % 4) & 0x03030303) << 2 * v;
      return word;
    default: return 0;
  }
}

EAGLE_INLINE void put_half(uint8_t *to, int o, const void *half) { memcpy(to + 2 * o, half, 2); }

/// The scales of group g of output o.
EAGLE_INLINE void pack_group_scales(eagle_weight_type type, const void *block, int g, int o, uint8_t *to) {
  switch (type) {
    case EAGLE_WEIGHTS_MXFP4: to[o] = *(const uint8_t *)block; return;
    case EAGLE_WEIGHTS_IQ4_XS: to[o] = (uint8_t)iq4_xs_scale(block, g); return;
    case EAGLE_WEIGHTS_Q4_K: case EAGLE_WEIGHTS_Q5_K: {
      group_scales scales = unpack_scales(((const block_q4_k *)block)->scales);
      to[o] = scales.scale[g];
      to[TILE + o] = scales.minimum[g];
      return;
    }
    case EAGLE_WEIGHTS_Q6_K:
      to[o] = (uint8_t)((const block_q6_k *)block)->scales[2 * g];
      to[TILE + o] = (uint8_t)((const block_q6_k *)block)->scales[2 * g + 1];
      return;
    default:
      put_half(to, o, block);
      if (has_minimum(type)) put_half(to + 2 * TILE, o, &((const block_q4_1 *)block)->m);
  }
}

EAGLE_INLINE void pack_header(eagle_weight_type type, const void *block, int o, uint8_t *to) {
  if (type == EAGLE_WEIGHTS_Q6_K) return put_half(to, o, &((const block_q6_k *)block)->d);
  put_half(to, o, block);
  if (has_minimum(type)) put_half(to + 2 * TILE, o, &((const block_q4_k *)block)->minimum);
}

EAGLE_INLINE void pack_elements(eagle_weight_type type, const void *block, int g, int o, uint8_t *to) {
  if (type == EAGLE_WEIGHTS_Q8_0) {
    for (int v = 0; v < 8; v++) memcpy(to + 4 * TILE * v + 4 * o, ((const block_q8_0 *)block)->q + 4 * v, 4);
    return;
  }
  for (int v = 0; v < element_bits(type); v++) {
    uint32_t word = v < 4 ? element_word(type, block, g, v) : high_word(type, block, g, v - 4);
    memcpy(to + 4 * TILE * v + 4 * o, &word, 4);
  }
}

/// One output of a tile.
EAGLE_INLINE void pack_output(eagle_weight_type type, const char *row, int64_t k, int o, uint8_t *tile) {
  int in_block = is_long(type) ? 8 : 1;
  for (int64_t g = 0; g < k / GROUP; g++) {
    const void *block = row + g / in_block * eagle_block_bytes_of(type);
    if (g % in_block == 0) {
      if (is_long(type)) pack_header(type, block, o, tile);
      tile += tile_header_bytes(type);
    }
    pack_group_scales(type, block, (int)(g % in_block), o, tile);
    pack_elements(type, block, (int)(g % in_block), o, tile + tile_scale_bytes(type));
    tile += tile_group_bytes(type);
  }
}

EAGLE_INLINE void pack_tile(eagle_weight_type type, const char *rows, int64_t outputs, int64_t k, uint8_t *tile) {
  int64_t row_bytes = k / eagle_block_length_of(type) * eagle_block_bytes_of(type);
  memset(tile, 0, tile_bytes(type, k));
  for (int o = 0; o < outputs; o++) pack_output(type, rows + o * row_bytes, k, o, tile);
}

#define PACK(type) \
  case type: return pack_tile(type, rows, outputs < TILE ? outputs : TILE, k, tile);

void eagle_tile_pack(eagle_weight_type type, const void *rows, int64_t outputs, int64_t k, void *tile) {
  switch (type) {
    EACH_TILE_TYPE(PACK)
    default: return;
  }
}

int64_t eagle_tile_bytes(eagle_weight_type type, int64_t k) { return tile_bytes(type, k); }
