// Formats of weights: single elements, and the blocks of quantised elements that GGUF files store.
#ifndef EAGLE_BLOCKS_API_H
#define EAGLE_BLOCKS_API_H

#include <stdint.h>

/// Blocks of 32 elements, and of 256 (names with K, and IQ4_XS), each with scales of its own; see blocks.c.
typedef enum {
  EAGLE_WEIGHTS_F32, EAGLE_WEIGHTS_BF16, EAGLE_WEIGHTS_F16,
  EAGLE_WEIGHTS_Q8_0, EAGLE_WEIGHTS_Q4_0, EAGLE_WEIGHTS_Q4_1, EAGLE_WEIGHTS_Q5_0, EAGLE_WEIGHTS_Q5_1,
  EAGLE_WEIGHTS_MXFP4, EAGLE_WEIGHTS_IQ4_NL,
  EAGLE_WEIGHTS_Q4_K, EAGLE_WEIGHTS_Q5_K, EAGLE_WEIGHTS_Q6_K, EAGLE_WEIGHTS_IQ4_XS,
} eagle_weight_type;

/// Elements of a block; 1 for single elements.
int eagle_block_length(eagle_weight_type type);
/// Bytes of a block.
int eagle_block_bytes(eagle_weight_type type);

/// Writes the values of `count` elements, whole blocks, as float32.
void eagle_weights_decode(eagle_weight_type type, const void *weights, int64_t count, float *y);
/// Rounds `count` elements to blocks of Q8_0, Q4_0, Q5_0, Q4_K or Q6_K; returns 0, and writes nothing, for other
/// formats.
int eagle_weights_encode(eagle_weight_type type, const float *x, int64_t count, void *blocks);

/// Rearranges `outputs` rows of k elements in blocks, at most 8, to a tile of eagle_tile_bytes(type, k) bytes
/// (tiles.h).
void eagle_tile_pack(eagle_weight_type type, const void *rows, int64_t outputs, int64_t k, void *tile);
int64_t eagle_tile_bytes(eagle_weight_type type, int64_t k);

/// Writes the values of a tile, y [outputs][k], at most 8 outputs; for processors with AVX2 alone.
void eagle_tile_decode(eagle_weight_type type, const void *tile, int64_t outputs, int64_t k, float *y);

#endif
