// The layouts of the blocks of quantised weights in GGUF files.
#ifndef EAGLE_BLOCKS_H
#define EAGLE_BLOCKS_H

#include "include/eagle_blocks.h"
#include "vector.h"

typedef uint16_t float16;  // bits

// Blocks of 32 elements.
typedef struct { float16 d; int8_t q[32]; } block_q8_0;
typedef struct { float16 d; uint8_t nibbles[16]; } block_q4_0;
typedef struct { float16 d, m; uint8_t nibbles[16]; } block_q4_1;
typedef struct { float16 d; uint8_t high[4], nibbles[16]; } block_q5_0;
typedef struct { float16 d, m; uint8_t high[4], nibbles[16]; } block_q5_1;
typedef struct { uint8_t exponent, nibbles[16]; } block_mxfp4;
typedef struct { float16 d; uint8_t nibbles[16]; } block_iq4_nl;

// Blocks of 256 elements.
typedef struct { float16 d, minimum; uint8_t scales[12], q[128]; } block_q4_k;
typedef struct { float16 d, minimum; uint8_t scales[12], high[32], q[128]; } block_q5_k;
typedef struct { uint8_t low[128], high[64]; int8_t scales[16]; float16 d; } block_q6_k;
typedef struct { float16 d; uint8_t scales_high[2], scales_low[4], nibbles[128]; } block_iq4_xs;

/// Bytes of a block of quantised weights, known at compile time.
EAGLE_INLINE int eagle_block_bytes_of(eagle_weight_type type) {
  switch (type) {
    case EAGLE_WEIGHTS_Q8_0: return sizeof(block_q8_0);
    case EAGLE_WEIGHTS_Q4_0: return sizeof(block_q4_0);
    case EAGLE_WEIGHTS_Q4_1: return sizeof(block_q4_1);
    case EAGLE_WEIGHTS_Q5_0: return sizeof(block_q5_0);
    case EAGLE_WEIGHTS_Q5_1: return sizeof(block_q5_1);
    case EAGLE_WEIGHTS_MXFP4: return sizeof(block_mxfp4);
    case EAGLE_WEIGHTS_IQ4_NL: return sizeof(block_iq4_nl);
    case EAGLE_WEIGHTS_Q4_K: return sizeof(block_q4_k);
    case EAGLE_WEIGHTS_Q5_K: return sizeof(block_q5_k);
    case EAGLE_WEIGHTS_Q6_K: return sizeof(block_q6_k);
    case EAGLE_WEIGHTS_IQ4_XS: return sizeof(block_iq4_xs);
    case EAGLE_WEIGHTS_F32: return 4;
    case EAGLE_WEIGHTS_BF16: case EAGLE_WEIGHTS_F16: return 2;
  }
}

EAGLE_INLINE int eagle_block_length_of(eagle_weight_type type) {
  return type <= EAGLE_WEIGHTS_F16 ? 1 : type < EAGLE_WEIGHTS_Q4_K ? 32 : 256;
}

/// The values of the sixteen codes of Q4_0, and of IQ4_NL and IQ4_XS.
extern const int8_t eagle_q4_0_values[16];
extern const int8_t eagle_iq4_values[16];
/// Twice the values of four-bit floats: a sign, two bits of exponent and one of mantissa.
extern const int8_t eagle_mxfp4_values[16];

/// 2^(exponent - 128), for values that are doubled, including the subnormal ones.
EAGLE_INLINE float half_power_of_two(uint8_t exponent) {
  uint32_t bits = exponent > 1 ? (uint32_t)(exponent - 1) << 23 : 0x200000u << exponent;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

typedef struct { uint8_t scale[8], minimum[8]; } group_scales;

/// The 6-bit scales and minima of Q4_K and Q5_K: those of groups 0 to 3 are the low bits of bytes 0 to 3 and 4 to 7;
/// those of groups 4 to 7 have their low halves in bytes 8 to 11 and their high bits in the top bits of bytes 0 to 7.
EAGLE_INLINE group_scales unpack_scales(const uint8_t packed[12]) {
  uint32_t a, b, c;
  memcpy(&a, packed, 4);
  memcpy(&b, packed + 4, 4);
  memcpy(&c, packed + 8, 4);
  uint32_t words[4] = {
      a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4,
      b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4,
  };
  group_scales scales;
  memcpy(&scales, words, sizeof scales);
  return scales;
}

/// The fifth bit of element i of 32, as 0 or 16.
EAGLE_INLINE int fifth_bit(const uint8_t high[4], int i) { return (high[i / 8] >> i % 8 & 1) << 4; }

/// Element i of group g, 0 to 15. 32 bytes hold the nibbles of two groups.
EAGLE_INLINE int q4_k_element(const block_q4_k *b, int g, int i) { return b->q[g / 2 * 32 + i] >> 4 * (g % 2) & 15; }

/// The same with a fifth bit, bit g of byte i.
EAGLE_INLINE int q5_k_element(const block_q5_k *b, int g, int i) {
  return (b->q[g / 2 * 32 + i] >> 4 * (g % 2) & 15) | (b->high[i] >> g & 1) << 4;
}

/// Element i of the 32 of part 4 h + p, -32 to 31: 64 bytes of nibbles and 32 of high bits hold the four parts of an h.
EAGLE_INLINE int q6_k_element(const block_q6_k *b, int part, int i) {
  int low = b->low[part / 4 * 64 + part % 2 * 32 + i] >> part % 4 / 2 * 4 & 15;
  return (low | (b->high[part / 4 * 32 + i] >> part % 4 * 2 & 3) << 4) - 32;
}

/// The scale of a group of 32, -32 to 31.
EAGLE_INLINE int iq4_xs_scale(const block_iq4_xs *b, int g) {
  int low = b->scales_low[g / 2] >> 4 * (g % 2) & 15, high = b->scales_high[g / 4] >> 2 * (g % 4) & 3;
  return (low | high << 4) - 32;
}

#endif
