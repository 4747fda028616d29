#include <math.h>

#include "blocks.h"
#include "vector.h"

// Encodes float32 weights as blocks. The scale is not just that of the largest element: of several scales near it, each
// refitted to its rounded elements by least squares, the one with the smallest squared error is taken.
//
// All processors yield the same blocks: sums have eight lanes, and multiply-adds that round are explicitly fused ones.
// The compiler may fuse other additions of products, which are exact.

EAGLE_INLINE float16 narrow_f16(float value) {
  _Float16 half = (_Float16)value;
  float16 bits;
  memcpy(&bits, &half, sizeof bits);
  return bits;
}

EAGLE_INLINE int rounded_within(float value, int low, int high) {
  float q = __builtin_roundevenf(value);
  return q < low ? low : q > high ? high : q == q ? (int)q : 0;
}

/// The same for eight values, as floats.
EAGLE_INLINE f32x8 all_rounded_within(f32x8 values, float low, float high) {
  f32x8 q = __builtin_elementwise_roundeven(values);
  return __builtin_elementwise_min(__builtin_elementwise_max(q, (f32x8){0} + low), (f32x8){0} + high);
}

/// x y + sum, rounded once.
EAGLE_INLINE f32x8 add_product(f32x8 x, f32x8 y, f32x8 sum) { return __builtin_elementwise_fma(x, y, sum); }

enum { TRIALS = 8, MAX_VECTORS = 4 };

/// The scale d of n elements x[i] ~ d q[i], n = 16 or 32, q from -limit to limit - 1. It is negative where the element
/// of largest magnitude is positive, so that this element maps to about -limit.
EAGLE_INLINE float fitted_scale(const float *x, const int n, int limit) {
  float largest = 0, best = 0, least = INFINITY;
  for (int i = 0; i < n; i++) largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
  if (fabsf(largest) < 1e-30f) return 0;
  for (int trial = -TRIALS; trial <= TRIALS; trial++) {
    float inverse = -fmaf(0.1f, trial, limit) / largest;
    f32x8 q[MAX_VECTORS], xq = {0}, qq = {0}, error = {0};
    for (int v = 0; v < n / 8; v++) {
      q[v] = all_rounded_within(load8(x + 8 * v) * inverse, -limit, limit - 1);
      xq = add_product(load8(x + 8 * v), q[v], xq);
      qq += q[v] * q[v];
    }
    float squares = sum_lanes8(qq);
    if (squares == 0) continue;
    float d = sum_lanes8(xq) / squares;
    for (int v = 0; v < n / 8; v++) {
      f32x8 miss = add_product((f32x8){0} - d, q[v], load8(x + 8 * v));
      error = add_product(miss, miss, error);
    }
    float sum = sum_lanes8(error);
    if (sum < least) (least = sum, best = d);
  }
  return best;
}

typedef struct { float scale, minimum; } affine;

/// x[i] ~ scale q[i] - minimum for 32 elements, q from 0 to 15, neither of them negative.
EAGLE_INLINE affine fitted_affine(const float *x) {
  const int n = 8 * MAX_VECTORS;
  float low = 0, high = 0, least = INFINITY;
  for (int i = 0; i < n; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  affine best = {0, -low};
  if (high - low < 1e-30f) return best;
  for (int trial = -TRIALS; trial <= TRIALS; trial++) {
    float inverse = fmaf(0.1f, trial, 15) / (high - low);
    f32x8 q[MAX_VECTORS], q1s = {0}, q2s = {0}, x1s = {0}, xqs = {0}, error = {0};
    for (int v = 0; v < MAX_VECTORS; v++) {
      q[v] = all_rounded_within((load8(x + 8 * v) - low) * inverse, 0, 15);
      q1s += q[v];
      q2s += q[v] * q[v];
      x1s += load8(x + 8 * v);
      xqs = add_product(load8(x + 8 * v), q[v], xqs);
    }
    // The least-squares line through (q, x), or the one through the origin where its minimum would be negative.
    float q1 = sum_lanes8(q1s), q2 = sum_lanes8(q2s), x1 = sum_lanes8(x1s), xq = sum_lanes8(xqs);
    float determinant = n * q2 - q1 * q1;
    if (determinant <= 0) continue;
    affine fit = {fmaf(-q1, x1, n * xq) / determinant, fmaf(q1, xq, -(q2 * x1)) / determinant};
    if (fit.minimum < 0) fit = (affine){xq / q2, 0};
    for (int v = 0; v < MAX_VECTORS; v++) {
      f32x8 miss = load8(x + 8 * v) - add_product((f32x8){0} + fit.scale, q[v], (f32x8){0} - fit.minimum);
      error = add_product(miss, miss, error);
    }
    float sum = sum_lanes8(error);
    if (fit.scale > 0 && sum < least) (least = sum, best = fit);
  }
  return best;
}

// KV caches use this encoding without checking their values: a block with an element that is not finite has the scale
// NaN.
EAGLE_INLINE void encode_q8_0(const float *x, block_q8_0 *b) {
  float largest = 0, zero = 0;
  for (int i = 0; i < 32; i++) {
    largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    zero += 0 * x[i];
  }
  b->d = narrow_f16(largest / 127 + zero);
  float d = widen_f16(b->d), inverse = d > 0 ? 1 / d : 0;
  for (int i = 0; i < 32; i++) b->q[i] = (int8_t)rounded_within(x[i] * inverse, -127, 127);
}

EAGLE_INLINE void encode_q4_0(const float *x, block_q4_0 *b) {
  b->d = narrow_f16(fitted_scale(x, 32, 8));
  float d = widen_f16(b->d), inverse = d != 0 ? 1 / d : 0;
  for (int i = 0; i < 16; i++) {
    int low = rounded_within(x[i] * inverse, -8, 7) + 8, high = rounded_within(x[16 + i] * inverse, -8, 7) + 8;
    b->nibbles[i] = (uint8_t)(low | high << 4);
  }
}

EAGLE_INLINE void encode_q5_0(const float *x, block_q5_0 *b) {
  b->d = narrow_f16(fitted_scale(x, 32, 16));
  float d = widen_f16(b->d), inverse = d != 0 ? 1 / d : 0;
  memset(b->high, 0, sizeof b->high);
  memset(b->nibbles, 0, sizeof b->nibbles);
  for (int i = 0; i < 32; i++) {
    int q = rounded_within(x[i] * inverse, -16, 15) + 16;
    b->nibbles[i % 16] |= (uint8_t)((q & 15) << i / 16 * 4);
    b->high[i / 8] |= (uint8_t)(q >> 4 << i % 8);
  }
}

/// The reverse of unpack_scales.
EAGLE_INLINE void pack_scales(const group_scales *s, uint8_t packed[12]) {
  for (int g = 0; g < 4; g++) {
    packed[g] = (uint8_t)(s->scale[g] | s->scale[g + 4] >> 4 << 6);
    packed[g + 4] = (uint8_t)(s->minimum[g] | s->minimum[g + 4] >> 4 << 6);
    packed[g + 8] = (uint8_t)((s->scale[g + 4] & 15) | (s->minimum[g + 4] & 15) << 4);
  }
}

EAGLE_INLINE void encode_q4_k(const float *x, block_q4_k *b) {
  affine fits[8];
  float scale = 0, minimum = 0;
  for (int g = 0; g < 8; g++) {
    fits[g] = fitted_affine(x + 32 * g);
    scale = fits[g].scale > scale ? fits[g].scale : scale;
    minimum = fits[g].minimum > minimum ? fits[g].minimum : minimum;
  }
  b->d = narrow_f16(scale / 63);
  b->minimum = narrow_f16(minimum / 63);
  float d = widen_f16(b->d), m = widen_f16(b->minimum);
  group_scales scales;
  memset(b->q, 0, sizeof b->q);
  for (int g = 0; g < 8; g++) {
    scales.scale[g] = (uint8_t)rounded_within(d > 0 ? fits[g].scale / d : 0, 0, 63);
    scales.minimum[g] = (uint8_t)rounded_within(m > 0 ? fits[g].minimum / m : 0, 0, 63);
    float step = d * scales.scale[g], offset = scales.minimum[g];
    for (int i = 0; i < 32; i++) {
      int q = step > 0 ? rounded_within(fmaf(m, offset, x[32 * g + i]) / step, 0, 15) : 0;
      b->q[g / 2 * 32 + i] |= (uint8_t)(q << 4 * (g % 2));
    }
  }
  pack_scales(&scales, b->scales);
}

EAGLE_INLINE void encode_q6_k(const float *x, block_q6_k *b) {
  float fits[16], largest = 0;
  for (int g = 0; g < 16; g++) {
    fits[g] = fitted_scale(x + 16 * g, 16, 32);
    largest = fabsf(fits[g]) > fabsf(largest) ? fits[g] : largest;
  }
  b->d = narrow_f16(largest / 127);
  float d = widen_f16(b->d);
  memset(b->low, 0, sizeof b->low);
  memset(b->high, 0, sizeof b->high);
  for (int g = 0; g < 16; g++) {
    b->scales[g] = (int8_t)rounded_within(d != 0 ? fits[g] / d : 0, -127, 127);
    float step = d * b->scales[g];
    for (int j = 0; j < 16; j++) {
      int q = step != 0 ? rounded_within(x[16 * g + j] / step, -32, 31) + 32 : 32;
      int part = g / 2, i = g % 2 * 16 + j;
      b->low[part / 4 * 64 + part % 2 * 32 + i] |= (uint8_t)((q & 15) << part % 4 / 2 * 4);
      b->high[part / 4 * 32 + i] |= (uint8_t)(q >> 4 << part % 4 * 2);
    }
  }
}

#define EACH(kind, encode)                                                                                        \
  for (int64_t i = 0, length = eagle_block_length(type); i < count / length; i++) encode(x + i * length, (kind *)blocks + i); \
  return 1

EAGLE_DISPATCHED
int eagle_weights_encode(eagle_weight_type type, const float *x, int64_t count, void *blocks) {
  switch (type) {
    case EAGLE_WEIGHTS_Q8_0: EACH(block_q8_0, encode_q8_0);
    case EAGLE_WEIGHTS_Q4_0: EACH(block_q4_0, encode_q4_0);
    case EAGLE_WEIGHTS_Q5_0: EACH(block_q5_0, encode_q5_0);
    case EAGLE_WEIGHTS_Q4_K: EACH(block_q4_k, encode_q4_k);
    case EAGLE_WEIGHTS_Q6_K: EACH(block_q6_k, encode_q6_k);
    default: return 0;
  }
}
