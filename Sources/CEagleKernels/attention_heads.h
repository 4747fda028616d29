// Some heads of one row that share their keys: scores, and the weighted sum of values.
#ifndef EAGLE_ATTENTION_HEADS_H
#define EAGLE_ATTENTION_HEADS_H

#include "blocks.h"
#include "include/CEagleKernels.h"
#include "vector.h"

enum {
  KEYS = 8,            // that are scored together
  HEADS = 4,           // that share a read of the values
  COLUMNS = 64,        // of the values, with sums in registers
  PREFETCH_KEYS = 16,  // the prefetch distance
};

// MARK: keys and values as they are stored

EAGLE_INLINE const char *key_row(const void *prefix, const void *const *singles, const eagle_attention_keys *keys,
                                 int64_t t) {
  return t < keys->prefix_count ? (const char *)prefix + t * keys->stride : singles[t - keys->prefix_count];
}

/// The bytes of `count` elements, whole blocks.
EAGLE_INLINE int64_t key_bytes(eagle_weight_type type, int64_t count) {
  return count / eagle_block_length_of(type) * eagle_block_bytes_of(type);
}

/// Element i of a row.
EAGLE_INLINE float key_element(eagle_weight_type type, const char *row, int64_t i) {
  if (type == EAGLE_WEIGHTS_Q8_0) {
    const block_q8_0 *block = (const block_q8_0 *)row + i / 32;
    return widen_f16(block->d) * block->q[i % 32];
  }
  return type == EAGLE_WEIGHTS_BF16 ? widen_bf16(((const uint16_t *)row)[i]) : ((const float *)row)[i];
}

typedef uint16_t u16x16_unaligned __attribute__((vector_size(32), aligned(2)));
typedef int8_t i8x16_unaligned __attribute__((vector_size(16), aligned(1)));

/// Elements i to i + 15 of a row, i a multiple of 16.
EAGLE_INLINE void load_keys(eagle_weight_type type, const char *row, int64_t i, f32x16 *elements) {
  if (type == EAGLE_WEIGHTS_Q8_0) {
    const block_q8_0 *block = (const block_q8_0 *)row + i / 32;
    f32x16 q = __builtin_convertvector(*(const i8x16_unaligned *)(block->q + i % 32), f32x16);
    *elements = widen_f16(block->d) * q;
  } else if (type == EAGLE_WEIGHTS_BF16) {
    u32x16 bits = __builtin_convertvector(*(const u16x16_unaligned *)((const uint16_t *)row + i), u32x16);
    *elements = (f32x16)(bits << 16);
  } else {
    *elements = load16((const float *)row + i);
  }
}

// MARK: heads

EAGLE_INLINE int64_t count_keys(const eagle_attention_keys *keys) { return keys->prefix_count + keys->single_count; }

/// Heads that share their keys.
typedef struct {
  const float *q;  // [heads][d]
  float *scores;   // [heads][stride], of which sums[h] is the sum when they are exponentiated
  const float *sums;
  float *out;      // [heads][d]
  int64_t heads, d, stride;
  int64_t offset;  // of their key head in a key row, in bytes
  const eagle_attention_keys *keys;
} head_group;

typedef struct {
  int64_t begin, end;
} key_range;

// A head's columns of consecutive rows are apart in memory, which the processor's own prefetch does not follow.
EAGLE_INLINE void prefetch_row(const char *row, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(row + i);
}

/// The sum of the lanes of each of eight vectors.
EAGLE_INLINE f32x8 sums_of_eight(const f32x16 v[KEYS]) {
  f32x16 halves[4], quarters[2];
  for (int i = 0; i < 4; i++) halves[i] = ADD_HALVES(v[2 * i], v[2 * i + 1]);
  for (int i = 0; i < 2; i++) quarters[i] = ADD_QUARTERS(halves[2 * i], halves[2 * i + 1]);
  f32x16 pairs = ADD_EIGHTHS(quarters[0], quarters[1]);
  return __builtin_shufflevector(pairs, pairs, 0, 2, 4, 6, 8, 10, 12, 14) +
         __builtin_shufflevector(pairs, pairs, 1, 3, 5, 7, 9, 11, 13, 15);
}

/// The products of some heads with eight keys, each of which is widened once for all of them.
EAGLE_INLINE void dot_with_eight(eagle_weight_type type, const int heads, const float *q, const char *const k[KEYS],
                                 int64_t d, f32x8 *totals) {
  f32x16 sum[HEADS][KEYS];
  int64_t whole = d / 16 * 16;
  // Four sums of a head at a time are what the registers of AVX2 hold.
  for (int first = 0; first < KEYS; first += 4) {
    f32x16 s[HEADS][4];
    for (int h = 0; h < heads; h++)
      for (int j = 0; j < 4; j++) s[h][j] = (f32x16){0};
    for (int64_t i = 0; i < whole; i += 16) {
      f32x16 key[4];
      for (int j = 0; j < 4; j++) load_keys(type, k[first + j], i, key + j);
      for (int h = 0; h < heads; h++)
        for (int j = 0; j < 4; j++) s[h][j] += load16(q + h * d + i) * key[j];
    }
    for (int h = 0; h < heads; h++)
      for (int j = 0; j < 4; j++) sum[h][first + j] = s[h][j];
  }
  for (int h = 0; h < heads; h++) {
    totals[h] = sums_of_eight(sum[h]);
    for (int64_t i = whole; i < d; i++)
      for (int j = 0; j < KEYS; j++) totals[h][j] += q[h * d + i] * key_element(type, k[j], i);
  }
}

/// Scores of some heads with some keys, from a multiple of eight on. The last key is repeated to fill a group of eight;
/// its extra scores are stored after the row's own.
EAGLE_INLINE void score(eagle_weight_type type, const int heads, head_group g, key_range range, int prefetches,
                        float scale) {
  for (int64_t t = range.begin; t < range.end; t += KEYS) {
    const char *k[KEYS];
    for (int j = 0; j < KEYS; j++)
      k[j] = key_row(g.keys->prefix_k, g.keys->single_k, g.keys, t + j < range.end ? t + j : range.end - 1) + g.offset;
    for (int j = 0; prefetches && j < KEYS; j++)
      prefetch_row(k[j] + PREFETCH_KEYS * g.keys->stride, key_bytes(type, g.d));
    f32x8 totals[HEADS];
    dot_with_eight(type, heads, g.q, k, g.d, totals);
    for (int h = 0; h < heads; h++) *(f32x8_unaligned *)(g.scores + h * g.stride + t) = scale * totals[h];
  }
}

/// The same for as many heads at a time as registers hold.
EAGLE_INLINE void score_heads(eagle_weight_type type, head_group g, key_range range, int prefetches, float scale,
                              int64_t in_flight) {
  for (int64_t h = 0, taken; h < g.heads; h += taken) {
    taken = g.heads - h < in_flight ? g.heads - h : in_flight;
    if (taken == 1) score(type, 1, g, range, prefetches, scale);
    if (taken == 2) score(type, 2, g, range, prefetches, scale);
    if (taken == 3) score(type, 3, g, range, prefetches, scale);
    if (taken == 4) score(type, 4, g, range, prefetches, scale);
    g.scores += taken * g.stride;
    g.q += taken * g.d;
    prefetches = 0;
  }
}

/// Sums of p_t v_t over some keys, for some vectors of columns in registers; every column adds its keys in order. The
/// sums of the keys before are in out, and the last keys' are divided by those of p.
EAGLE_INLINE void weigh(eagle_weight_type type, const int heads, const int vectors, head_group g, key_range range,
                        int prefetches, int64_t column) {
  f32x16 total[HEADS][COLUMNS / 16];
  float *out = g.out + column;
  for (int h = 0; h < heads; h++)
    for (int i = 0; i < vectors; i++) total[h][i] = range.begin == 0 ? (f32x16){0} : load16(out + h * g.d + 16 * i);
  for (int64_t t = range.begin; t < range.end; t++) {
    const char *v = key_row(g.keys->prefix_v, g.keys->single_v, g.keys, t) + g.offset;
    const char *ahead = v + key_bytes(type, column) + PREFETCH_KEYS * g.keys->stride;
    if (prefetches) prefetch_row(ahead, key_bytes(type, 16 * vectors));
    for (int i = 0; i < vectors; i++) {
      f32x16 value;
      load_keys(type, v, column + 16 * i, &value);
      for (int h = 0; h < heads; h++) total[h][i] += g.scores[h * g.stride + t] * value;
    }
  }
  int is_last = range.end == g.keys->prefix_count + g.keys->single_count;
  for (int h = 0; h < heads; h++)
    for (int i = 0; i < vectors; i++)
      *(f32x16_unaligned *)(out + h * g.d + 16 * i) = is_last ? total[h][i] / g.sums[h] : total[h][i];
}

/// The same of one column.
EAGLE_INLINE void weigh_column(eagle_weight_type type, const int heads, head_group g, key_range range, int64_t column) {
  for (int h = 0; h < heads; h++) {
    float *out = g.out + h * g.d + column;
    float total = range.begin == 0 ? 0 : *out;
    for (int64_t t = range.begin; t < range.end; t++)
      total += g.scores[h * g.stride + t] *
               key_element(type, key_row(g.keys->prefix_v, g.keys->single_v, g.keys, t) + g.offset, column);
    *out = range.end == g.keys->prefix_count + g.keys->single_count ? total / g.sums[h] : total;
  }
}

EAGLE_INLINE void weigh_columns(eagle_weight_type type, const int heads, head_group g, key_range range,
                                int prefetches) {
  int64_t i = 0;
  for (; i + COLUMNS <= g.d; i += COLUMNS) weigh(type, heads, COLUMNS / 16, g, range, prefetches, i);
  for (; i + 16 <= g.d; i += 16) weigh(type, heads, 1, g, range, prefetches, i);
  for (; i < g.d; i++) weigh_column(type, heads, g, range, i);
}

/// The same for as many heads at a time as registers hold.
EAGLE_INLINE void weigh_heads(eagle_weight_type type, head_group g, key_range range, int prefetches,
                              int64_t in_flight) {
  int64_t heads = g.heads;
  for (int64_t h = 0, taken; h < heads; h += taken) {
    taken = heads - h < in_flight ? heads - h : in_flight;
    if (taken == 1) weigh_columns(type, 1, g, range, prefetches);
    if (taken == 2) weigh_columns(type, 2, g, range, prefetches);
    if (taken == 3) weigh_columns(type, 3, g, range, prefetches);
    if (taken == 4) weigh_columns(type, 4, g, range, prefetches);
    g.scores += taken * g.stride;
    g.sums += taken;
    g.out += taken * g.d;
  }
}

#endif
