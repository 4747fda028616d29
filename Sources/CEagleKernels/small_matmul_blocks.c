#include <math.h>

#include "small_matmul_tiles.h"
#include "vector.h"

// The small-M matmul with weights in blocks: the plain form, which reads rows of blocks and gives the bits of all
// variants, the rows that it takes, and the choice of a variant.

// MARK: the plain form

/// Group g of a block: integers, the scales of both halves and the minimum.
typedef struct {
  int32_t w[GROUP];
  float scale[2], minimum;
} integers;

/// Element i of a block of 32.
static int32_t short_element(eagle_weight_type type, const void *block, int i) {
  const uint8_t *nibbles = (const uint8_t *)block + eagle_block_bytes_of(type) - 16;  // they end a block
  int nibble = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
  switch (type) {
    case EAGLE_WEIGHTS_Q8_0: return ((const block_q8_0 *)block)->q[i];
    case EAGLE_WEIGHTS_Q4_1: return nibble;
    case EAGLE_WEIGHTS_Q5_0: return (nibble | fifth_bit(((const block_q5_0 *)block)->high, i)) - 16;
    case EAGLE_WEIGHTS_Q5_1: return nibble | fifth_bit(((const block_q5_1 *)block)->high, i);
    case EAGLE_WEIGHTS_MXFP4: return eagle_mxfp4_values[nibble];
    case EAGLE_WEIGHTS_IQ4_NL: return eagle_iq4_values[nibble];
    default: return eagle_q4_0_values[nibble];
  }
}

static integers short_group(eagle_weight_type type, const void *block) {
  integers group = {.minimum = 0};
  for (int i = 0; i < GROUP; i++) group.w[i] = short_element(type, block, i);
  group.scale[0] = type == EAGLE_WEIGHTS_MXFP4 ? half_power_of_two(*(const uint8_t *)block)
                                               : widen_f16(*(const float16 *)block);
  if (has_minimum(type)) group.minimum = widen_f16(((const block_q4_1 *)block)->m);
  return group;
}

static integers long_group(eagle_weight_type type, const void *block, int g) {
  integers group = {.minimum = 0};
  const block_q4_k *k4 = block;
  const block_q6_k *k6 = block;
  const block_iq4_xs *xs = block;
  if (type == EAGLE_WEIGHTS_Q6_K) {
    for (int i = 0; i < GROUP; i++) group.w[i] = q6_k_element(k6, g, i);
    for (int h = 0; h < 2; h++) group.scale[h] = widen_f16(k6->d) * k6->scales[2 * g + h];
  } else if (type == EAGLE_WEIGHTS_IQ4_XS) {
    for (int i = 0; i < GROUP; i++)
      group.w[i] = eagle_iq4_values[i < 16 ? xs->nibbles[16 * g + i] & 15 : xs->nibbles[16 * g + i - 16] >> 4];
    group.scale[0] = widen_f16(xs->d) * iq4_xs_scale(xs, g);
  } else {
    group_scales scales = unpack_scales(k4->scales);
    for (int i = 0; i < GROUP; i++)
      group.w[i] = type == EAGLE_WEIGHTS_Q4_K ? q4_k_element(k4, g, i) : q5_k_element(block, g, i);
    group.scale[0] = widen_f16(k4->d) * scales.scale[g];
    group.minimum = -widen_f16(k4->minimum) * scales.minimum[g];
  }
  return group;
}

static float add_group(eagle_weight_type type, const integers *group, const quantized_group *x, float total) {
  int halves = type == EAGLE_WEIGHTS_Q6_K ? 2 : 1;
  for (int h = 0; h < halves; h++) {
    int32_t sum = 0;
    for (int i = h * 16; i < (halves == 2 ? 16 * (h + 1) : GROUP); i++) sum += group->w[i] * x->q[i];
    total = fmaf((float)sum, group->scale[h] * x->scale, total);
  }
  return has_minimum(type) ? fmaf(group->minimum, x->scaled_sum, total) : total;
}

static void matmul_plain(const eagle_small_matmul *a, int64_t begin, int64_t end) {
  int64_t groups = a->k / GROUP, in_block = is_long(a->type) ? 8 : 1;
  int64_t row_bytes = groups / in_block * eagle_block_bytes_of(a->type);
  for (int64_t n = begin; n < end; n++) {
    for (int64_t m = 0; m < a->rows; m++) a->y[m * a->y_stride + n] = 0;
    for (int64_t g = 0; g < groups; g++) {
      const char *block = (const char *)a->w + n * row_bytes + g / in_block * eagle_block_bytes_of(a->type);
      integers group = is_long(a->type) ? long_group(a->type, block, (int)(g % 8)) : short_group(a->type, block);
      for (int64_t m = 0; m < a->rows; m++) {
        float *y = a->y + m * a->y_stride + n;
        *y = add_group(a->type, &group, (const quantized_group *)a->x + g * a->rows + m, *y);
      }
    }
    for (int64_t m = 0; m < a->rows; m++) a->y[m * a->y_stride + n] += a->bias ? a->bias[n] : 0.0f;
  }
}

// MARK: rows

typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef int8_t i8x8_unaligned __attribute__((vector_size(8), aligned(1)));

enum { VECTORS = GROUP / 8 };

/// The largest magnitude of 32 elements by its bits, so that NaN and infinity are larger than all others.
EAGLE_INLINE uint32_t largest_bits(const f32x8 x[VECTORS]) {
  u32x8 largest = {0};
  for (int v = 0; v < VECTORS; v++) largest = __builtin_elementwise_max(largest, (u32x8)x[v] & 0x7fffffff);
  return __builtin_reduce_max(largest);
}

EAGLE_INLINE void quantize_group(const float *elements, quantized_group *to) {
  f32x8 x[VECTORS];
  for (int v = 0; v < VECTORS; v++) x[v] = load8(elements + 8 * v);
  uint32_t bits = largest_bits(x);
  float largest;
  memcpy(&largest, &bits, 4);
  *to = (quantized_group){.scale = bits >= 0x7f800000 ? NAN : 0, .scaled_sum = bits >= 0x7f800000 ? NAN : 0};
  if (bits >= 0x7f800000 || largest < 1e-30f) return;  // the inverse of less would be infinite
  float factor = 127.0f / largest;
  int32_t halves[2];
  for (int h = 0; h < 2; h++) {
    i32x8 sum = {0};
    for (int v = 2 * h; v < 2 * h + 2; v++) {
      i32x8 q = __builtin_convertvector(__builtin_elementwise_roundeven(x[v] * factor), i32x8);
      *(i8x8_unaligned *)(to->q + 8 * v) = __builtin_convertvector(q, i8x8_unaligned);
      sum += q;
    }
    halves[h] = __builtin_reduce_add(sum);
  }
  int32_t sum = halves[0] + halves[1];
  to->scale = largest / 127.0f;
  to->scaled_sum = to->scale * (float)sum;
  to->offset_8 = -8 * sum;
  to->offset_16 = -16 * sum;
  to->offset_128 = -128 * sum;
  for (int h = 0; h < 2; h++) to->half_offset_32[h] = -32 * halves[h];
}

EAGLE_DISPATCHED
void eagle_quantize_row(const float *x, int64_t k, int64_t rows, int64_t m, void *groups) {
  for (int64_t g = 0; g < k / GROUP; g++) quantize_group(x + g * GROUP, (quantized_group *)groups + g * rows + m);
}

int64_t eagle_quantized_bytes(int64_t rows, int64_t k) { return rows * (k / GROUP) * (int64_t)sizeof(quantized_group); }

// MARK: the choice of a variant

int eagle_has_tiles(void) { return eagle_cpu_has_avx2(); }

#if defined(__x86_64__)
/// Two tiles at a time, in passes of equal numbers of rows: the first pass loads them into the cache.
static void matmul_in_passes(tile_pass *pass, const eagle_small_matmul *a, int64_t begin, int64_t end) {
  int64_t passes = (a->rows + MAX_TILE_ROWS - 1) / MAX_TILE_ROWS, step = passes == 1 ? end - begin : 2 * TILE;
  for (int64_t n = begin; n < end; n += step)
    for (int64_t index = 0; index < passes; index++) {
      int64_t first = a->rows * index / passes, rows = a->rows * (index + 1) / passes - first;
      pass(a, first, rows, n, n + step < end ? n + step : end);
    }
}
#endif

void eagle_small_matmul_tiles(eagle_tile_variant variant, const eagle_small_matmul *a, int64_t begin, int64_t end) {
#if defined(__x86_64__)
  int is_vnni = variant == EAGLE_TILES_BEST && eagle_cpu_has_avx512_vnni();
  matmul_in_passes(is_vnni ? eagle_tile_pass_vnni : eagle_tile_pass_avx2, a, begin, end);
#endif
}

void eagle_small_matmul_blocks(const eagle_small_matmul *a, int64_t begin, int64_t end) { matmul_plain(a, begin, end); }
