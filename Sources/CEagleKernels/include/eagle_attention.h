// Attention: of single rows, each with keys of its own, and what blocks of rows need in addition to their GEMMs.
#ifndef EAGLE_ATTENTION_H
#define EAGLE_ATTENTION_H

#include <stdint.h>

#include "eagle_blocks.h"

// MARK: single rows (attention.c)

/// One row's keys and values: a prefix of consecutive rows, then single rows elsewhere in memory.
typedef struct {
  const void *prefix_k, *prefix_v;  // row t at prefix_k + t * stride
  int64_t prefix_count;
  const void *const *single_k, *const *single_v;
  int64_t single_count;
  int64_t stride;  // in bytes
} eagle_attention_keys;

typedef struct {
  const float *q;  // [rows][heads * d]
  int64_t rows, heads, kv_heads, d;
  const eagle_attention_keys *keys;  // [rows], whose key rows hold kv_heads heads side by side
  eagle_weight_type type;            // of keys and values: F32, BF16, or Q8_0 where d is a multiple of 32
  float scale;
  float softcap;       // scores become softcap * tanh(score / softcap); 0 for none
  const float *sinks;  // [heads]: logits that take part in each softmax and weight no value; or null
  float *scratch;   // eagle_attention_scratch floats
  int64_t threads;  // that the scratch buffer is for; more do not take part
  float *out;       // [rows][heads * d]
  float *lse;       // the heads' log-sum-exp, [rows][heads], or null
} eagle_attention;

/// out = sum_t p_t v_t, p = softmax(scale * q . k_t), capped and with a sink where there are any, over each row's
/// prefix and single keys, on all threads. Keys of both kinds are added alike: a row gives the same bits wherever the
/// prefix ends, and a head of a row the same as it does alone.
void eagle_attention_rows(const eagle_attention *a);
/// The floats of the scratch buffer, by all fields but scratch, out and lse.
int64_t eagle_attention_scratch(const eagle_attention *a);
/// The same in plain loops, on the calling thread; `scratch` holds a float for each key of the longest row.
void eagle_attention_plain(const eagle_attention *a, float *scratch);

// MARK: blocks of rows (attention_blocks.c)

float eagle_dot(const float *a, const float *b, int64_t n);
/// y += factor * x.
void eagle_add_scaled(float *y, float factor, const float *x, int64_t n);

/// One row of a block of q . k: `keys` prefix keys, of which [first, end) are the row's own, then `chain` keys.
typedef struct {
  float *scores;  // [keys + chain]
  int64_t first, end, keys, chain;
  float scale, softcap;
  const float *sink;  // of the head, or null
} eagle_attention_scores;
/// Overwrites the scores by exp(scale s - max), 0 for keys that are not the row's own, and returns 1 / sum.
float eagle_attention_softmax(const eagle_attention_scores *row, float *lse);
/// The same row without a chain, by its known log-sum-exp: probabilities.
void eagle_attention_probabilities(float *scores, int64_t prefix, int64_t keys, float scale, float lse);
/// Overwrites dp by the gradient of q . k: scale p (dp - delta), delta = dout . out.
void eagle_attention_score_gradient(const float *p, float *dp, int64_t n, float delta, float scale);

/// One head of a row and one chain key, [d] each.
typedef struct {
  const float *dout, *q, *k, *v;
  float *dq, *dk, *dv;
  float delta, lse, scale;
  int64_t d;
} eagle_attention_chain;
/// Adds the chain key's part to the gradients of query, key and value.
void eagle_attention_chain_backward(const eagle_attention_chain *chain);

#endif
