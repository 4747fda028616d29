#include "include/CEagleKernels.h"

#include <math.h>
#include "dispatch.h"
#include "exponential.h"

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

EAGLE_INLINE void score_row(const float *q, int64_t d, int64_t offset, const eagle_attention_keys *keys, float scale,
                            float *scores) {
  for (int64_t t = 0; t < keys->prefix_count; t++)
    scores[t] = scale * dot(q, keys->prefix_k + t * keys->stride + offset, d);
  for (int64_t j = 0; j < keys->chain_count; j++)
    scores[keys->prefix_count + j] = scale * dot(q, keys->chain_k[j] + offset, d);
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

EAGLE_DISPATCHED
void eagle_attention(const float *q, int64_t heads, int64_t d, int64_t kv_offset, const eagle_attention_keys *keys,
                     float scale, float *scores, float *out, float *lse) {
  int64_t count = keys->prefix_count + keys->chain_count;
  for (int64_t head = 0; head < heads; head++) {
    float *o = out + head * d;
    score_row(q + head * d, d, kv_offset, keys, scale, scores);
    float maximum = scores[0];
    for (int64_t t = 1; t < count; t++) maximum = scores[t] > maximum ? scores[t] : maximum;
    float sum = exponentiate(scores, count, maximum);
    for (int64_t i = 0; i < d; i++) o[i] = 0;
    for (int64_t t = 0; t < keys->prefix_count; t++)
      add_scaled(o, scores[t], keys->prefix_v + t * keys->stride + kv_offset, d);
    for (int64_t j = 0; j < keys->chain_count; j++)
      add_scaled(o, scores[keys->prefix_count + j], keys->chain_v[j] + kv_offset, d);
    for (int64_t i = 0; i < d; i++) o[i] /= sum;
    if (lse) lse[head] = maximum + logf(sum);
  }
}

EAGLE_INLINE void back_through_key(const float *dout, const float *q, float p, float delta, float scale, int64_t d,
                                   const float *k, const float *v, float *dq, float *dk, float *dv) {
  float ds = scale * p * (dot(dout, v, d) - delta);
  add_scaled(dv, p, dout, d);
  add_scaled(dq, ds, k, d);
  add_scaled(dk, ds, q, d);
}

EAGLE_DISPATCHED
void eagle_attention_backward(const float *dout, const float *out, const float *q, const float *lse, int64_t heads,
                              int64_t d, int64_t kv_offset, const eagle_attention_keys *keys, float scale,
                              float *scores, float *dq, const eagle_attention_gradients *gradients) {
  int64_t count = keys->prefix_count + keys->chain_count;
  for (int64_t head = 0; head < heads; head++) {
    const float *qh = q + head * d, *doh = dout + head * d;
    float *dqh = dq + head * d;
    float delta = dot(doh, out + head * d, d);
    score_row(qh, d, kv_offset, keys, scale, scores);
    exponentiate(scores, count, lse[head]);
    for (int64_t t = 0; t < keys->prefix_count; t++) {
      int64_t at = t * keys->stride + kv_offset;
      back_through_key(doh, qh, scores[t], delta, scale, d, keys->prefix_k + at, keys->prefix_v + at, dqh,
                       gradients->prefix_dk + at, gradients->prefix_dv + at);
    }
    for (int64_t j = 0; j < keys->chain_count; j++)
      back_through_key(doh, qh, scores[keys->prefix_count + j], delta, scale, d, keys->chain_k[j] + kv_offset,
                       keys->chain_v[j] + kv_offset, dqh, gradients->chain_dk[j] + kv_offset,
                       gradients->chain_dv[j] + kv_offset);
  }
}
