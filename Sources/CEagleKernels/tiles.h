// Weights in blocks, rearranged for products: tiles of 8 outputs, so that a vector holds elements of all of them.
//
// For each group of 32 elements of k a tile has the scales of its outputs, then the elements. They fill eight vectors
// with a byte for each element: vector v holds elements 4 v to 4 v + 3 of output 0, then those of output 1, and so on.
// Of the eight vectors, the tile stores
//  - with 4 bits: 4 vectors, whose bytes have those of vector v in their low halves and those of v + 4 in their high
//    halves;
//  - with 5 bits: also a vector of fifth bits, bit v of a byte being that of vector v;
//  - with 6 bits: also two vectors of fifth and sixth bits, two bits for each vector;
//  - with 8 bits: all eight.
// Scales are stored as they are, except those of 6 bits, which become bytes. Where a format has blocks of 256, the
// eight groups of a block follow the d, and the minima, of the 8 outputs.
#ifndef EAGLE_TILES_H
#define EAGLE_TILES_H

#include "blocks.h"

enum { GROUP = 32, TILE = 8 };

/// All types that have tiles.
#define EACH_TILE_TYPE(DO)                                                                       \
  DO(EAGLE_WEIGHTS_Q8_0) DO(EAGLE_WEIGHTS_Q4_0) DO(EAGLE_WEIGHTS_Q4_1) DO(EAGLE_WEIGHTS_Q5_0)    \
  DO(EAGLE_WEIGHTS_Q5_1) DO(EAGLE_WEIGHTS_MXFP4) DO(EAGLE_WEIGHTS_IQ4_NL) DO(EAGLE_WEIGHTS_Q4_K) \
  DO(EAGLE_WEIGHTS_Q5_K) DO(EAGLE_WEIGHTS_Q6_K) DO(EAGLE_WEIGHTS_IQ4_XS)

/// Bits of an element.
EAGLE_INLINE int element_bits(eagle_weight_type type) {
  switch (type) {
    case EAGLE_WEIGHTS_Q8_0: return 8;
    case EAGLE_WEIGHTS_Q6_K: return 6;
    case EAGLE_WEIGHTS_Q5_0: case EAGLE_WEIGHTS_Q5_1: case EAGLE_WEIGHTS_Q5_K: return 5;
    default: return 4;
  }
}

EAGLE_INLINE int has_minimum(eagle_weight_type type) {
  return type == EAGLE_WEIGHTS_Q4_1 || type == EAGLE_WEIGHTS_Q5_1 || type == EAGLE_WEIGHTS_Q4_K ||
         type == EAGLE_WEIGHTS_Q5_K;
}

EAGLE_INLINE int is_long(eagle_weight_type type) { return type >= EAGLE_WEIGHTS_Q4_K; }

/// Bytes of the scales of a group.
EAGLE_INLINE int tile_scale_bytes(eagle_weight_type type) {
  if (type == EAGLE_WEIGHTS_MXFP4 || type == EAGLE_WEIGHTS_IQ4_XS) return TILE;
  return type == EAGLE_WEIGHTS_Q4_1 || type == EAGLE_WEIGHTS_Q5_1 ? 4 * TILE : 2 * TILE;
}

EAGLE_INLINE int tile_group_bytes(eagle_weight_type type) {
  return tile_scale_bytes(type) + TILE * GROUP * element_bits(type) / 8;
}

/// Bytes in front of eight groups.
EAGLE_INLINE int tile_header_bytes(eagle_weight_type type) {
  return !is_long(type) ? 0 : has_minimum(type) ? 4 * TILE : 2 * TILE;
}

/// Bytes of a tile whose outputs have k elements.
EAGLE_INLINE int64_t tile_bytes(eagle_weight_type type, int64_t k) {
  return k / 256 * tile_header_bytes(type) + k / GROUP * tile_group_bytes(type);
}

#endif
