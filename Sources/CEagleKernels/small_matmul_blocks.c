#include "small_matmul_blocks.h"

#include <math.h>

// The small-M matmul with weights in blocks: the plain form, whose bits all variants give, the rows that it takes, and
// the choice of a variant.

// MARK: the plain form

/// The weights of 32 elements as integers, times the scale of their group where a block has several.
typedef struct {
  int32_t w[GROUP];
  float d, minimum;  // minimum: 0 where the format has none
} integers;

/// Element i of the 32 that begin at `block`, whose format has blocks of 32.
static int32_t element32(eagle_weight_type type, const void *block, int i) {
  const uint8_t *bytes = block;
  int offset = type == EAGLE_WEIGHTS_Q5_0 ? 6 : type == EAGLE_WEIGHTS_Q5_1 ? 8 : type == EAGLE_WEIGHTS_Q4_1 ? 4
             : type == EAGLE_WEIGHTS_MXFP4 ? 1 : 2;
  int nibble = i < 16 ? bytes[offset + i] & 15 : bytes[offset + i - 16] >> 4;
  switch (type) {
    case EAGLE_WEIGHTS_Q8_0: return ((const block_q8_0 *)block)->q[i];
    case EAGLE_WEIGHTS_Q4_1: return nibble;
    case EAGLE_WEIGHTS_Q5_0: return (nibble | fifth_bit(bytes + 2, i)) - 16;
    case EAGLE_WEIGHTS_Q5_1: return nibble | fifth_bit(bytes + 4, i);
    case EAGLE_WEIGHTS_MXFP4: return eagle_mxfp4_values[nibble];
    case EAGLE_WEIGHTS_IQ4_NL: return eagle_iq4_values[nibble];
    default: return eagle_q4_0_values[nibble];
  }
}

/// Group g of a block.
static integers group_of(eagle_weight_type type, const void *block, int g) {
  integers group = {.minimum = 0};
  const block_q4_k *k4 = block;
  const block_q5_k *k5 = block;
  const block_q6_k *k6 = block;
  const block_iq4_xs *xs = block;
  switch (type) {
    case EAGLE_WEIGHTS_Q4_K: case EAGLE_WEIGHTS_Q5_K: {
      group_scales scales = unpack_scales(k4->scales);
      for (int i = 0; i < GROUP; i++)
        group.w[i] = scales.scale[g] * (type == EAGLE_WEIGHTS_Q4_K ? q4_k_element(k4, g, i) : q5_k_element(k5, g, i));
      group.d = widen_f16(k4->d);
      group.minimum = widen_f16(k4->minimum) * scales.minimum[g];
      return group;
    }
    case EAGLE_WEIGHTS_Q6_K:
      for (int i = 0; i < GROUP; i++) group.w[i] = k6->scales[2 * g + i / 16] * q6_k_element(k6, g, i);
      group.d = widen_f16(k6->d);
      return group;
    case EAGLE_WEIGHTS_IQ4_XS:
      for (int i = 0; i < GROUP; i++) {
        uint8_t byte = xs->nibbles[16 * g + i % 16];
        group.w[i] = iq4_xs_scale(xs, g) * eagle_iq4_values[i < 16 ? byte & 15 : byte >> 4];
      }
      group.d = widen_f16(xs->d);
      return group;
    default:
      for (int i = 0; i < GROUP; i++) group.w[i] = element32(type, block, i);
      group.d = type == EAGLE_WEIGHTS_MXFP4 ? half_power_of_two(*(const uint8_t *)block)
                                            : widen_f16(*(const float16 *)block);
      if (type == EAGLE_WEIGHTS_Q4_1 || type == EAGLE_WEIGHTS_Q5_1)
        group.minimum = widen_f16(((const block_q4_1 *)block)->m);
      return group;
  }
}

/// dot[j] += the products that fall on lane j. x has its even elements first.
static void add_dots(const int16_t *x, const int32_t *w, int32_t dot[8]) {
  for (int i = 0; i < GROUP; i++) dot[i / 4] += w[i] * x[i % 2 * 16 + i / 2];
}

/// t = the products with the blocks of a span of 32-blocks.
static void span_of_short(const eagle_small_matmul *a, const char *blocks, int64_t m, int64_t first, int64_t end,
                          float t[8]) {
  int bytes = eagle_block_bytes_of(a->type);
  for (int64_t g = first; g < end; g++) {
    integers group = group_of(a->type, blocks + g * bytes, 0);
    int32_t dot[8] = {0};
    add_dots((const int16_t *)a->x + (g * a->rows + m) * GROUP, group.w, dot);
    for (int j = 0; j < 8; j++) t[j] = fmaf((float)dot[j], group.d, t[j]);
    if (a->type == EAGLE_WEIGHTS_Q4_1 || a->type == EAGLE_WEIGHTS_Q5_1)
      t[0] = fmaf(a->x_sums[span_sums(a->rows, g, m)], group.minimum, t[0]);
  }
}

static void span_of_long(const eagle_small_matmul *a, const void *block, int64_t m, int64_t first, float t[8]) {
  int32_t dot[8] = {0};
  integers groups[8];
  for (int g = 0; g < 8; g++) {
    groups[g] = group_of(a->type, block, g);
    add_dots((const int16_t *)a->x + ((first + g) * a->rows + m) * GROUP, groups[g].w, dot);
  }
  for (int j = 0; j < 8; j++) {
    t[j] = (float)dot[j] * groups[0].d;
    if (a->type == EAGLE_WEIGHTS_Q4_K || a->type == EAGLE_WEIGHTS_Q5_K)
      t[j] = fmaf(-groups[j].minimum, a->x_sums[span_sums(a->rows, first + j, m)], t[j]);
  }
}

static float plain_element(const eagle_small_matmul *a, int64_t m, int64_t n) {
  int64_t groups = a->k / GROUP, spans = spans_of(a->k);
  int bytes = eagle_block_bytes_of(a->type), is_long = a->type >= EAGLE_WEIGHTS_Q4_K;
  const char *blocks = (const char *)a->w + n * (is_long ? spans : groups) * bytes;
  f32x8 total = {0};
  for (int64_t span = 0; span < spans; span++) {
    float t[8] = {0};
    int64_t end = span * 8 + 8 < groups ? span * 8 + 8 : groups;
    if (is_long) span_of_long(a, blocks + span * bytes, m, span * 8, t);
    else span_of_short(a, blocks, m, span * 8, end, t);
    for (int j = 0; j < 8; j++) total[j] = fmaf(t[j], a->x_scales[span * a->rows + m], total[j]);
  }
  return sum_lanes8(total) + (a->bias ? a->bias[n] : 0.0f);
}

static void matmul_plain(const eagle_small_matmul *a, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; n++)
    for (int64_t m = 0; m < a->rows; m++) a->y[m * a->y_stride + n] = plain_element(a, m, n);
}

// MARK: rows

/// The largest magnitude of n elements by its bits, so that NaN and infinity are larger than all others.
EAGLE_INLINE uint32_t largest_bits(const float *x, int64_t n) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

/// 32 elements times a factor, rounded; their even ones first. Returns their sum.
EAGLE_INLINE int32_t quantize_group(const float *x, float factor, int16_t *q) {
  int32_t sum = 0;
  for (int i = 0; i < 16; i++) {
    int32_t even = (int32_t)__builtin_roundevenf(x[2 * i] * factor);
    int32_t odd = (int32_t)__builtin_roundevenf(x[2 * i + 1] * factor);
    q[i] = (int16_t)even;
    q[16 + i] = (int16_t)odd;
    sum += even + odd;
  }
  return sum;
}

/// Row m of the `rows` rows of a pass.
EAGLE_INLINE void quantize_row(const float *x, int64_t k, int64_t rows, int64_t m, int16_t *q, float *scales,
                               float *sums) {
  const float limit = 16383.0f;
  for (int64_t first = 0; first < k; first += SPAN) {
    int64_t end = first + SPAN < k ? first + SPAN : k;
    uint32_t bits = largest_bits(x + first, end - first);
    float largest;
    memcpy(&largest, &bits, 4);
    int is_finite = bits < 0x7f800000;
    // What is so small that the factor would be infinite rounds to 0.
    float factor = is_finite && largest > 1e-30f ? limit / largest : 0.0f;
    scales[first / SPAN * rows + m] = is_finite ? (factor > 0 ? largest / limit : 0.0f) : NAN;
    for (int64_t g = first / GROUP; g < end / GROUP; g++) {
      int16_t *to = q + (g * rows + m) * GROUP;
      if (!is_finite) memset(to, 0, GROUP * sizeof *q);
      sums[span_sums(rows, g, m)] = is_finite ? (float)quantize_group(x + g * GROUP, factor, to) : 0.0f;
    }
  }
}

EAGLE_DISPATCHED
void eagle_quantize_row(const float *x, int64_t k, int64_t rows, int64_t m, int16_t *q, float *scales, float *sums) {
  for (int64_t index = 0; index < passes_of(rows); index++) {
    row_range pass = rows_of_pass(rows, index);
    if (m < pass.begin || m >= pass.begin + pass.count) continue;
    quantize_row(x, k, pass.count, m - pass.begin, q + pass.begin * k, scales + pass.begin * spans_of(k),
                 sums + pass.begin * spans_of(k) * 8);
  }
}

// MARK: the choice of a variant

enum { BLOCK_CHUNK_BYTES = 16384 };

typedef void block_pass(const eagle_small_matmul *a, int64_t begin, int64_t end);

/// Chunks of outputs that stay in the cache, in passes of equal numbers of rows.
static void matmul_in_passes(block_pass *pass, const eagle_small_matmul *all, int64_t begin, int64_t end) {
  int64_t bytes = all->k / eagle_block_length(all->type) * eagle_block_bytes_of(all->type);
  int64_t passes = passes_of(all->rows), spans = spans_of(all->k);
  int64_t chunk = passes == 1 ? end - begin : BLOCK_CHUNK_BYTES / (bytes + 1) + 1;
  for (int64_t n = begin; n < end; n += chunk)
    for (int64_t index = 0; index < passes; index++) {
      row_range rows = rows_of_pass(all->rows, index);
      eagle_small_matmul a = *all;
      a.rows = rows.count;
      a.x = (const int16_t *)all->x + rows.begin * all->k;
      a.x_scales += rows.begin * spans;
      a.x_sums += rows.begin * spans * 8;
      a.y += rows.begin * all->y_stride;
      pass(&a, n, n + chunk < end ? n + chunk : end);
    }
}

static eagle_block_variant best_variant(void) {
  if (eagle_cpu_has_avx512_vnni()) return EAGLE_BLOCKS_VNNI;
  return eagle_cpu_has_avx2() ? EAGLE_BLOCKS_AVX2 : EAGLE_BLOCKS_PLAIN;
}

void eagle_small_matmul_blocks(eagle_block_variant variant, const eagle_small_matmul *a, int64_t begin, int64_t end) {
  if (variant == EAGLE_BLOCKS_BEST) variant = best_variant();
#if defined(__x86_64__)
  if (variant == EAGLE_BLOCKS_VNNI) return matmul_in_passes(eagle_block_pass_vnni, a, begin, end);
  if (variant == EAGLE_BLOCKS_AVX2) return matmul_in_passes(eagle_block_pass_avx2, a, begin, end);
#endif
  matmul_in_passes(matmul_plain, a, begin, end);
}
