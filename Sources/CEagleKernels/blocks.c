#include "blocks.h"

#include "include/eagle_rows.h"

// Blocks of quantised weights to float32. The formats are ggml's: d is a block's scale and m its minimum, both float16,
// q are small integers. "Nibbles" are 16 bytes whose low halves are the first 16 elements of 32 and whose high halves
// the others. Products of a scale and an integer are exact in float32, so it does not matter whether they are fused.

int eagle_block_length(eagle_weight_type type) { return eagle_block_length_of(type); }

int eagle_block_bytes(eagle_weight_type type) { return eagle_block_bytes_of(type); }

// MARK: blocks of 32

EAGLE_INLINE void decode_q8_0(const block_q8_0 *b, float *y) {
  float d = widen_f16(b->d);
  for (int i = 0; i < 32; i++) y[i] = d * b->q[i];
}

/// y = d value[q].
EAGLE_INLINE void decode_table(float d, const uint8_t *nibbles, const int8_t value[16], float *y) {
  for (int i = 0; i < 16; i++) {
    y[i] = d * value[nibbles[i] & 15];
    y[16 + i] = d * value[nibbles[i] >> 4];
  }
}

EAGLE_INLINE void decode_q4_1(const block_q4_1 *b, float *y) {
  float d = widen_f16(b->d), m = widen_f16(b->m);
  for (int i = 0; i < 16; i++) {
    y[i] = d * (b->nibbles[i] & 15) + m;
    y[16 + i] = d * (b->nibbles[i] >> 4) + m;
  }
}

EAGLE_INLINE void decode_q5_0(const block_q5_0 *b, float *y) {
  float d = widen_f16(b->d);
  for (int i = 0; i < 16; i++) {
    y[i] = d * (((b->nibbles[i] & 15) | fifth_bit(b->high, i)) - 16);
    y[16 + i] = d * ((b->nibbles[i] >> 4 | fifth_bit(b->high, 16 + i)) - 16);
  }
}

EAGLE_INLINE void decode_q5_1(const block_q5_1 *b, float *y) {
  float d = widen_f16(b->d), m = widen_f16(b->m);
  for (int i = 0; i < 16; i++) {
    y[i] = d * ((b->nibbles[i] & 15) | fifth_bit(b->high, i)) + m;
    y[16 + i] = d * (b->nibbles[i] >> 4 | fifth_bit(b->high, 16 + i)) + m;
  }
}

// MARK: blocks of 256

/// Eight groups of 32: y = (d scale) q - (minimum m), scale and m of 6 bits; q is element(b, g, i).
#define DECODE_GROUPS(element)                                                                          \
  float d = widen_f16(b->d), minimum = widen_f16(b->minimum);                                           \
  group_scales scales = unpack_scales(b->scales);                                                       \
  for (int g = 0; g < 8; g++)                                                                           \
    for (int i = 0; i < 32; i++)                                                                        \
      y[32 * g + i] = d * scales.scale[g] * element(b, g, i) - minimum * scales.minimum[g]

EAGLE_INLINE void decode_q4_k(const block_q4_k *b, float *y) { DECODE_GROUPS(q4_k_element); }

EAGLE_INLINE void decode_q5_k(const block_q5_k *b, float *y) { DECODE_GROUPS(q5_k_element); }

/// Sixteen groups of 16 with signed scales: y = (d scale) q.
EAGLE_INLINE void decode_q6_k(const block_q6_k *b, float *y) {
  float d = widen_f16(b->d);
  for (int part = 0; part < 8; part++) {
    float scales[2] = {d * b->scales[2 * part], d * b->scales[2 * part + 1]};
    for (int i = 0; i < 32; i++) y[32 * part + i] = scales[i / 16] * q6_k_element(b, part, i);
  }
}

EAGLE_INLINE void decode_iq4_xs(const block_iq4_xs *b, float *y) {
  float d = widen_f16(b->d);
  for (int g = 0; g < 8; g++)
    decode_table(d * iq4_xs_scale(b, g), b->nibbles + 16 * g, eagle_iq4_values, y + 32 * g);
}

const int8_t eagle_q4_0_values[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};
const int8_t eagle_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t eagle_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

#define EACH(kind, body)                                                     \
  for (int64_t i = 0; i < blocks; i++, y += eagle_block_length(type)) {      \
    const kind *b = (const kind *)weights + i;                               \
    body;                                                                    \
  }                                                                          \
  return

EAGLE_DISPATCHED
static void decode_blocks(eagle_weight_type type, const void *weights, int64_t blocks, float *y) {
  switch (type) {
    case EAGLE_WEIGHTS_F32: case EAGLE_WEIGHTS_BF16: case EAGLE_WEIGHTS_F16: return;
    case EAGLE_WEIGHTS_Q8_0: EACH(block_q8_0, decode_q8_0(b, y));
    case EAGLE_WEIGHTS_Q4_0: EACH(block_q4_0, decode_table(widen_f16(b->d), b->nibbles, eagle_q4_0_values, y));
    case EAGLE_WEIGHTS_Q4_1: EACH(block_q4_1, decode_q4_1(b, y));
    case EAGLE_WEIGHTS_Q5_0: EACH(block_q5_0, decode_q5_0(b, y));
    case EAGLE_WEIGHTS_Q5_1: EACH(block_q5_1, decode_q5_1(b, y));
    case EAGLE_WEIGHTS_MXFP4:
      EACH(block_mxfp4, decode_table(half_power_of_two(b->exponent), b->nibbles, eagle_mxfp4_values, y));
    case EAGLE_WEIGHTS_IQ4_NL: EACH(block_iq4_nl, decode_table(widen_f16(b->d), b->nibbles, eagle_iq4_values, y));
    case EAGLE_WEIGHTS_Q4_K: EACH(block_q4_k, decode_q4_k(b, y));
    case EAGLE_WEIGHTS_Q5_K: EACH(block_q5_k, decode_q5_k(b, y));
    case EAGLE_WEIGHTS_Q6_K: EACH(block_q6_k, decode_q6_k(b, y));
    case EAGLE_WEIGHTS_IQ4_XS: EACH(block_iq4_xs, decode_iq4_xs(b, y));
  }
}

void eagle_weights_decode(eagle_weight_type type, const void *weights, int64_t count, float *y) {
  switch (type) {
    case EAGLE_WEIGHTS_F32: memcpy(y, weights, count * sizeof *y); return;
    case EAGLE_WEIGHTS_BF16: return eagle_bf16_to_f32(weights, y, count);
    case EAGLE_WEIGHTS_F16: return eagle_f16_to_f32(weights, y, count);
    default: return decode_blocks(type, weights, count / eagle_block_length(type), y);
  }
}
