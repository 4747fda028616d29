#include "include/CEagleKernels.h"

#include <math.h>
#include "vector.h"

// Attention in blocks of rows. Scores and sums of values are GEMMs; this file has the operations on a row of scores
// between them.
//
// p = softmax(scale s);  dp_t = dout . v_t;  ds_t = scale p_t (dp_t - dout . out)

EAGLE_DISPATCHED
float eagle_dot(const float *a, const float *b, int64_t n) { return dot(a, b, n); }

EAGLE_DISPATCHED
void eagle_add_scaled(float *y, float factor, const float *x, int64_t n) { add_scaled(y, factor, x, n); }

/// Overwrites a row of scores by e^(scale s - shift), 0 between the row's own prefix and the end of the block's keys;
/// returns the sum.
EAGLE_INLINE float exponentiate_row(float *scores, int64_t prefix, int64_t keys, int64_t chain, float scale,
                                     float shift) {
  float sum = exponentiate(scores, prefix, scale, shift, 0);
  for (int64_t t = prefix; t < keys; t++) scores[t] = 0;
  return exponentiate(scores + keys, chain, scale, shift, sum);
}

EAGLE_DISPATCHED
static float softmax_row(eagle_attention_scores r, float *lse) {
  float *own = r.scores + r.first, *chain = r.scores + r.keys;
  int64_t count = r.end - r.first;
  float shift = r.scale * maximum_of(chain, r.chain, maximum_of(own, count, own[0]));
  if (r.sink && *r.sink > shift) shift = *r.sink;
  for (int64_t t = 0; t < r.first; t++) r.scores[t] = 0;
  float sum = exponentiate_row(own, count, r.keys - r.first, r.chain, r.scale, shift);
  if (r.sink) sum += expf(*r.sink - shift);
  if (lse) *lse = shift + logf(sum);
  return 1.0f / sum;
}

float eagle_attention_softmax(const eagle_attention_scores *row, float *lse) {
  eagle_attention_scores r = *row;
  if (r.softcap > 0) {
    eagle_softcap(r.scores + r.first, r.scale, r.softcap, r.end - r.first);
    eagle_softcap(r.scores + r.keys, r.scale, r.softcap, r.chain);
    r.scale = 1;
  }
  return softmax_row(r, lse);
}

EAGLE_DISPATCHED
void eagle_attention_probabilities(float *scores, int64_t prefix, int64_t keys, float scale, float lse) {
  exponentiate_row(scores, prefix, keys, 0, scale, lse);
}

EAGLE_DISPATCHED
void eagle_attention_score_gradient(const float *restrict p, float *restrict dp, int64_t n, float delta, float scale) {
  for (int64_t t = 0; t < n; t++) dp[t] = scale * p[t] * (dp[t] - delta);
}

EAGLE_DISPATCHED
void eagle_attention_chain_backward(const eagle_attention_chain *chain) {
  eagle_attention_chain c = *chain;
  float p = eagle_expf(c.scale * dot(c.q, c.k, c.d) - c.lse);
  float ds = c.scale * p * (dot(c.dout, c.v, c.d) - c.delta);
  add_scaled(c.dv, p, c.dout, c.d);
  add_scaled(c.dq, ds, c.k, c.d);
  add_scaled(c.dk, ds, c.q, c.d);
}
