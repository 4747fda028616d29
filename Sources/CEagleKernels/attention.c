#include "include/CEagleKernels.h"

#include <math.h>
#include "dispatch.h"
#include "exponential.h"
#include "lanes.h"

// s_t = scale q . k_t;  p = softmax(s);  out = sum_t p_t v_t
// dv_t += p_t dout;  dp_t = dout . v_t;  ds_t = p_t (dp_t - dout . out);  dq += scale ds_t k_t;  dk_t += scale ds_t q

EAGLE_INLINE float dot(const float *a, const float *b, int64_t n) {
  EAGLE_REASSOCIATE
  float sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

EAGLE_INLINE void add_scaled(float *restrict y, float factor, const float *restrict x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += factor * x[i];
}

EAGLE_INLINE float ordered_dot(const float *a, const float *b, int64_t n) {
  lanes sum[4] = {{0}, {0}, {0}, {0}};
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    for (int j = 0; j < 4; j++) sum[j] += load(a + i + 8 * j) * load(b + i + 8 * j);
  for (; i + 8 <= n; i += 8) sum[0] += load(a + i) * load(b + i);
  float total = sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; i < n; i++) total += a[i] * b[i];
  return total;
}

// A head's columns of consecutive rows lie apart, which the processor's own prefetch does not follow.
EAGLE_INLINE void ask_ahead(const float *row, int64_t stride, int64_t columns) {
  for (int64_t i = 0; i < columns; i += 16) __builtin_prefetch(row + 8 * stride + i);
}

EAGLE_INLINE void score_row(const float *q, int64_t d, int64_t offset, const eagle_attention_keys *keys, float scale,
                            float *scores) {
  for (int64_t t = 0; t < keys->prefix_count; t++) {
    const float *k = keys->prefix_k + t * keys->stride + offset;
    ask_ahead(k, keys->stride, d);
    scores[t] = scale * ordered_dot(q, k, d);
  }
  for (int64_t j = 0; j < keys->chain_count; j++)
    scores[keys->prefix_count + j] = scale * ordered_dot(q, keys->chain_k[j] + offset, d);
}

EAGLE_INLINE float exponentiate(float *scores, int64_t n, float shift) {
  EAGLE_REASSOCIATE
  float sum = 0;
  for (int64_t t = 0; t < n; t++) {
    float e = eagle_expf(scores[t] - shift);
    scores[t] = e;
    sum += e;
  }
  return sum;
}

// Sums of p_t v_t for some vectors of columns, in registers; every column adds its keys in order.
EAGLE_INLINE void weigh(const int vectors, const eagle_attention_keys *keys, int64_t column, const float *p, float sum,
                        float *out) {
  lanes total[8];
  for (int i = 0; i < vectors; i++) total[i] = (lanes){0};
  for (int64_t t = 0; t < keys->prefix_count; t++) {
    const float *v = keys->prefix_v + t * keys->stride + column;
    ask_ahead(v, keys->stride, 8 * vectors);
    for (int i = 0; i < vectors; i++) total[i] += p[t] * load(v + 8 * i);
  }
  for (int64_t j = 0; j < keys->chain_count; j++)
    for (int i = 0; i < vectors; i++)
      total[i] += p[keys->prefix_count + j] * load(keys->chain_v[j] + column + 8 * i);
  for (int i = 0; i < vectors; i++) *(lanes_unaligned *)(out + 8 * i) = total[i] / sum;
}

EAGLE_INLINE void weigh_one(const eagle_attention_keys *keys, int64_t column, const float *p, float sum, float *out) {
  float total = 0;
  for (int64_t t = 0; t < keys->prefix_count; t++) total += p[t] * keys->prefix_v[t * keys->stride + column];
  for (int64_t j = 0; j < keys->chain_count; j++) total += p[keys->prefix_count + j] * keys->chain_v[j][column];
  *out = total / sum;
}

EAGLE_DISPATCHED
void eagle_attention(const float *q, int64_t d, int64_t kv_offset, const eagle_attention_keys *keys, float scale,
                     float *scores, float *out, float *lse) {
  int64_t count = keys->prefix_count + keys->chain_count;
  score_row(q, d, kv_offset, keys, scale, scores);
  float maximum = maximum_of(scores, count, scores[0]);
  float sum = exponentiate(scores, count, maximum);
  int64_t i = 0;
  for (; i + 64 <= d; i += 64) weigh(8, keys, kv_offset + i, scores, sum, out + i);
  for (; i + 8 <= d; i += 8) weigh(1, keys, kv_offset + i, scores, sum, out + i);
  for (; i < d; i++) weigh_one(keys, kv_offset + i, scores, sum, out + i);
  if (lse) *lse = maximum + logf(sum);
}

// MARK: blocks of rows, whose products with keys and values are matrix products

EAGLE_DISPATCHED
float eagle_dot(const float *a, const float *b, int64_t n) { return dot(a, b, n); }

EAGLE_DISPATCHED
void eagle_add_scaled(float *y, float factor, const float *x, int64_t n) { add_scaled(y, factor, x, n); }

EAGLE_INLINE void exponentiate_block_row(float *scores, int64_t prefix, int64_t keys, int64_t chain, float scale,
                                         float shift, float *sum) {
  EAGLE_REASSOCIATE
  float total = 0;
  for (int64_t t = 0; t < prefix; t++) {
    float e = eagle_expf(scale * scores[t] - shift);
    scores[t] = e;
    total += e;
  }
  for (int64_t t = prefix; t < keys; t++) scores[t] = 0;
  for (int64_t t = keys; t < keys + chain; t++) {
    float e = eagle_expf(scale * scores[t] - shift);
    scores[t] = e;
    total += e;
  }
  *sum = total;
}

EAGLE_DISPATCHED
float eagle_attention_softmax(float *scores, int64_t prefix, int64_t keys, int64_t chain, float scale, float *lse) {
  float maximum = maximum_of(scores + keys, chain, maximum_of(scores, prefix, scores[0]));
  float sum, shift = scale * maximum;
  exponentiate_block_row(scores, prefix, keys, chain, scale, shift, &sum);
  if (lse) *lse = shift + logf(sum);
  return 1.0f / sum;
}

EAGLE_DISPATCHED
void eagle_attention_probabilities(float *scores, int64_t prefix, int64_t keys, float scale, float lse) {
  float sum;
  exponentiate_block_row(scores, prefix, keys, 0, scale, lse, &sum);
}

EAGLE_DISPATCHED
void eagle_attention_score_gradient(const float *restrict p, float *restrict dp, int64_t n, float delta, float scale) {
  for (int64_t t = 0; t < n; t++) dp[t] = scale * p[t] * (dp[t] - delta);
}

EAGLE_DISPATCHED
void eagle_attention_chain_backward(const float *dout, const float *q, float delta, float lse, float scale, int64_t d,
                                    const float *k, const float *v, float *dq, float *dk, float *dv) {
  float p = eagle_expf(scale * dot(q, k, d) - lse);
  float ds = scale * p * (dot(dout, v, d) - delta);
  add_scaled(dv, p, dout, d);
  add_scaled(dq, ds, k, d);
  add_scaled(dk, ds, q, d);
}
