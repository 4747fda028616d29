#include "attention_heads.h"

#include <math.h>

// Attention of single rows, each with keys of its own: s_t = scale q . k_t;  p = softmax(s);  out = sum_t p_t v_t
// A cap makes s_t = cap tanh(scale q . k_t / cap); a sink is one more logit in the softmax, without a value.
//
// Heads of a group share their keys and values, so each of them is read and widened once for up to four heads (one with
// AVX2), and eight keys' sums are added across their lanes together. Consecutive rows mostly share their keys too, so
// several rows process a range of keys at a time, which is then in the L1 cache. What a head of a row adds, and in
// which order, is the same however many rows, heads and keys are in flight.

enum {
  ROWS = 9,         // that are attended together, at most: those of a tree of eight drafts
  SHARED_KEYS = 32, // keys that they take at a time
  SCORES = 65536,   // floats of scores that the L2 cache holds
};

// MARK: rows that are attended together

typedef struct {
  const eagle_attention *attention;
  int64_t group;   // heads that share a key head
  int64_t stride;  // floats of a head's scores
  int64_t block;   // rows at a time
} row_attention;

/// The number of keys of the row that has the most, rounded up to a multiple of eight.
static int64_t longest(int64_t rows, const eagle_attention_keys *keys) {
  int64_t most = 1;
  for (int64_t r = 0; r < rows; r++)
    if (count_keys(keys + r) > most) most = count_keys(keys + r);
  return (most + KEYS - 1) / KEYS * KEYS;
}

/// The number of rows whose scores fit in the L2 cache.
static int64_t block_rows(int64_t rows, int64_t group, int64_t stride) {
  int64_t fitting = SCORES / (group * stride), limit = rows < ROWS ? rows : ROWS;
  return fitting < 1 ? 1 : fitting < limit ? fitting : limit;
}

static row_attention make_row_attention(const eagle_attention *a) {
  int64_t group = a->heads / a->kv_heads, stride = longest(a->rows, a->keys);
  return (row_attention){a, group, stride, block_rows(a->rows, group, stride)};
}

/// A block: some heads that share their keys, of some rows.
typedef struct {
  int64_t head, heads;
  int64_t first, end;
  float *scores;  // [rows][heads][stride]
} row_block;

EAGLE_INLINE head_group group_of(const row_attention *p, row_block b, int64_t row, const float *sums) {
  const eagle_attention *a = p->attention;
  int64_t at = (row * a->heads + b.head) * a->d;
  return (head_group){a->q + at, b.scores + (row - b.first) * b.heads * p->stride, sums, a->out + at, b.heads, a->d,
                      p->stride, key_bytes(a->type, b.head / p->group * a->d), a->keys + row};
}

/// The next keys of a row from t on, at most `length`; an empty range when it has no more.
EAGLE_INLINE key_range range_of(const eagle_attention_keys *keys, int64_t t, int64_t length) {
  return (key_range){t, t + length < count_keys(keys) ? t + length : count_keys(keys)};
}

/// Overwrites the scores of a head by e^(s - max) and returns their sum, that of the head's sink included.
EAGLE_INLINE float exponentiate_scores(const eagle_attention *a, int64_t head, float *scores, int64_t count,
                                        float *lse) {
  if (a->softcap > 0) eagle_softcap(scores, 1, a->softcap, count);
  float maximum = maximum_of(scores, count, scores[0]);
  if (a->sinks && a->sinks[head] > maximum) maximum = a->sinks[head];
  float sum = exponentiate(scores, count, 1, maximum, 0);
  if (a->sinks) sum += expf(a->sinks[head] - maximum);
  if (lse) *lse = maximum + logf(sum);
  return sum;
}

EAGLE_INLINE void attend_typed_block(eagle_weight_type type, const row_attention *p, row_block b) {
  const eagle_attention *a = p->attention;
  int64_t most = longest(b.end - b.first, a->keys + b.first);
  int64_t length = b.end - b.first > 1 ? SHARED_KEYS : most;
  // The registers of AVX2 hold the sums of one head only.
  int64_t in_flight = eagle_cpu_has_avx512() ? HEADS : 1;
  for (int64_t t = 0; t < most; t += length)
    for (int64_t r = b.first; r < b.end; r++) {
      const eagle_attention_keys *keys = a->keys + r;
      int prefetches = r == b.first || keys->prefix_k != keys[-1].prefix_k;
      score_heads(type, group_of(p, b, r, 0), range_of(keys, t, length), prefetches, a->scale, in_flight);
    }
  float sums[ROWS][b.heads];
  for (int64_t r = b.first; r < b.end; r++)
    for (int64_t h = 0; h < b.heads; h++) {
      float *scores = b.scores + ((r - b.first) * b.heads + h) * p->stride;
      float *lse = a->lse ? a->lse + r * a->heads + b.head + h : 0;
      sums[r - b.first][h] = exponentiate_scores(a, b.head + h, scores, count_keys(a->keys + r), lse);
    }
  for (int64_t t = 0; t < most; t += length)
    for (int64_t r = b.first; r < b.end; r++) {
      const eagle_attention_keys *keys = a->keys + r;
      key_range range = range_of(keys, t, length);
      if (range.begin >= range.end) continue;
      int prefetches = r == b.first || keys->prefix_v != keys[-1].prefix_v;
      weigh_heads(type, group_of(p, b, r, sums[r - b.first]), range, prefetches, in_flight);
    }
}

// The compiler accepts both attributes on a function that has been declared before.
static void attend_block(const row_attention *p, row_block b);

EAGLE_DISPATCHED EAGLE_WIDE_VECTORS
static void attend_block(const row_attention *p, row_block b) {
  switch (p->attention->type) {
    case EAGLE_WEIGHTS_BF16: return attend_typed_block(EAGLE_WEIGHTS_BF16, p, b);
    case EAGLE_WEIGHTS_Q8_0: return attend_typed_block(EAGLE_WEIGHTS_Q8_0, p, b);
    default: return attend_typed_block(EAGLE_WEIGHTS_F32, p, b);
  }
}

// MARK: all threads

// Tasks are heads, rows within a group of heads, groups: those that share keys are next to one another, and heads are
// small enough to partition a single row.

/// The block that begins with a task, of at most the tasks up to `end`.
static row_block block_from(const row_attention *p, int64_t task, int64_t end, float *scores) {
  const eagle_attention *a = p->attention;
  int64_t member = task % p->group, kv_head = task / p->group / a->rows, row = task / p->group % a->rows;
  int64_t heads = p->group - member < end - task ? p->group - member : end - task;
  int64_t rows = (end - task) / p->group;
  rows = rows < p->block ? rows : p->block;
  rows = heads < p->group || rows < 1 ? 1 : rows < a->rows - row ? rows : a->rows - row;
  return (row_block){kv_head * p->group + member, heads, row, row + rows, scores};
}

static void attend(void *context, eagle_tasks *tasks) {
  const row_attention *p = context;
  if (tasks->thread >= p->attention->threads) return;
  float *scores = p->attention->scratch + tasks->thread * p->block * p->group * p->stride;
  for (int64_t task, end; eagle_next_task(tasks, &task, &end);)
    while (task < end) {
      row_block block = block_from(p, task, end, scores);
      attend_block(p, block);
      task += (block.end - block.first) * block.heads;
    }
}

int64_t eagle_attention_scratch(const eagle_attention *a) {
  row_attention p = make_row_attention(a);
  return a->threads * p.block * p.group * p.stride;
}

/// The grain of the loop: half of the heads of a single row for each of two threads, or else whole groups of as many
/// rows as leave each thread three tasks.
static int64_t attention_grain(const eagle_attention *a, int64_t group) {
  int64_t rows = a->rows * a->kv_heads / (3 * a->threads);
  if (rows == 0) return (a->rows * a->heads + a->threads - 1) / a->threads;
  if (rows > a->rows) rows = a->rows;
  int64_t parts = (a->rows + rows - 1) / rows;
  return (a->rows + parts - 1) / parts * group;
}

void eagle_attention_rows(const eagle_attention *a) {
  row_attention p = make_row_attention(a);
  eagle_parallel_for(a->rows * a->heads, attention_grain(a, p.group), EAGLE_DYNAMIC, attend, &p);
}
