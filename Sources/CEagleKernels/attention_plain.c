#include "attention_heads.h"

#include <math.h>

// The plain form of attention.c.

/// One head of one row; `scores` holds a float for each key. `offset` is its key head's in a key row, in bytes.
static void attend_plain(const eagle_attention *a, int64_t row, int64_t head, int64_t offset, float *scores) {
  const eagle_attention_keys *keys = a->keys + row;
  int64_t at = (row * a->heads + head) * a->d, count = count_keys(keys);
  float maximum = -INFINITY, sum = 0;
  for (int64_t t = 0; t < count; t++) {
    const char *k = key_row(keys->prefix_k, keys->single_k, keys, t) + offset;
    float score = 0;
    for (int64_t i = 0; i < a->d; i++) score += a->q[at + i] * key_element(a->type, k, i);
    scores[t] = a->scale * score;
    if (a->softcap > 0) scores[t] = a->softcap * tanhf(scores[t] / a->softcap);
    maximum = fmaxf(maximum, scores[t]);
  }
  if (a->sinks) maximum = fmaxf(maximum, a->sinks[head]);
  for (int64_t t = 0; t < count; t++) sum += scores[t] = expf(scores[t] - maximum);
  if (a->sinks) sum += expf(a->sinks[head] - maximum);
  for (int64_t i = 0; i < a->d; i++) {
    float total = 0;
    for (int64_t t = 0; t < count; t++)
      total += scores[t] * key_element(a->type, key_row(keys->prefix_v, keys->single_v, keys, t) + offset, i);
    a->out[at + i] = total / sum;
  }
  if (a->lse) a->lse[row * a->heads + head] = maximum + logf(sum);
}

void eagle_attention_plain(const eagle_attention *a, float *scratch) {
  for (int64_t row = 0; row < a->rows; row++)
    for (int64_t head = 0; head < a->heads; head++)
      attend_plain(a, row, head, key_bytes(a->type, head / (a->heads / a->kv_heads) * a->d), scratch);
}
