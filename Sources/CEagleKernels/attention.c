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

// MARK: single rows, each with keys of its own
//
// Heads of a group share their keys and values, so each of them is read once for up to four heads, and eight keys' sums are added
// across their lanes together. Rows that follow one another mostly share their keys too: several of them take some keys at a time,
// which then are in the first cache. What a head of a row adds, and in which order, is the same however many rows, heads and keys
// are in flight.

enum { KEYS = 8, HEADS = 4, COLUMNS = 64, KEYS_AHEAD = 16, ROWS = 8, KEYS_TOGETHER = 32, SCORES_TOGETHER = 65536 };

EAGLE_INLINE const float *row_of(const float *prefix, const float *const *chain, const eagle_attention_keys *keys,
                                 int64_t t) {
  return t < keys->prefix_count ? prefix + t * keys->stride : chain[t - keys->prefix_count];
}

// A head's columns of consecutive rows lie apart, which the processor's own prefetch does not follow.
EAGLE_INLINE void ask_for(const float *row, int64_t columns) {
  for (int64_t i = 0; i < columns; i += 16) __builtin_prefetch(row + i);
}

// The lanes of each of eight vectors, added in halves.
EAGLE_INLINE lanes sums_of_eight(const lanes16 v[KEYS]) {
  lanes16 halves[4], quarters[2];
  for (int i = 0; i < 4; i++) {
    lanes16 a = v[2 * i], b = v[2 * i + 1];
    halves[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
  for (int i = 0; i < 2; i++) {
    lanes16 a = halves[2 * i], b = halves[2 * i + 1];
    quarters[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
                  __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
  lanes16 a = quarters[0], b = quarters[1];
  lanes16 pairs = __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +
                  __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
  return __builtin_shufflevector(pairs, pairs, 0, 2, 4, 6, 8, 10, 12, 14) +
         __builtin_shufflevector(pairs, pairs, 1, 3, 5, 7, 9, 11, 13, 15);
}

EAGLE_INLINE lanes products_with_eight(const float *q, const float *const k[KEYS], int64_t d) {
  lanes16 sum[KEYS];
  int64_t whole = d / 16 * 16;
  // Four sums at a time are what the registers of AVX2 hold.
  for (int first = 0; first < KEYS; first += 4) {
    lanes16 s[4] = {{0}, {0}, {0}, {0}};
    for (int64_t i = 0; i < whole; i += 16)
      for (int j = 0; j < 4; j++) s[j] += load16(q + i) * load16(k[first + j] + i);
    for (int j = 0; j < 4; j++) sum[first + j] = s[j];
  }
  lanes total = sums_of_eight(sum);
  for (int64_t i = whole; i < d; i++)
    for (int j = 0; j < KEYS; j++) total[j] += q[i] * k[j][i];
  return total;
}

typedef struct {
  int64_t begin, end;
} span;

// Scores of some keys, from a multiple of eight on.
EAGLE_INLINE void score(const float *q, int64_t heads, int64_t d, int64_t offset, const eagle_attention_keys *keys,
                        span own, int asks, float scale, float *scores, int64_t stride) {
  for (int64_t t = own.begin; t < own.end; t += KEYS) {
    const float *k[KEYS];
    for (int j = 0; j < KEYS; j++)  // behind the last key it is there again, and its score lies behind the row's own
      k[j] = row_of(keys->prefix_k, keys->chain_k, keys, t + j < own.end ? t + j : own.end - 1) + offset;
    for (int j = 0; asks && j < KEYS; j++) ask_for(k[j] + KEYS_AHEAD * keys->stride, d);
    for (int64_t h = 0; h < heads; h++)
      *(lanes_unaligned *)(scores + h * stride + t) = scale * products_with_eight(q + h * d, k, d);
  }
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

/// What the values are weighed by: p of head h at scores + h * stride, of the sum sums[h].
typedef struct {
  const float *scores, *sums;
  int64_t stride;
} weights;

// Sums of p_t v_t over some keys, for some vectors of columns in registers; every column adds its keys in order. The sums of the
// keys before are in out, and the last keys' are divided by those of p.
EAGLE_INLINE void weigh(const int heads, const int vectors, const eagle_attention_keys *keys, span own, int asks,
                        int64_t column, weights p, int64_t d, float *out) {
  lanes16 total[HEADS][COLUMNS / 16];
  for (int h = 0; h < heads; h++)
    for (int i = 0; i < vectors; i++) total[h][i] = own.begin == 0 ? (lanes16){0} : load16(out + h * d + 16 * i);
  for (int64_t t = own.begin; t < own.end; t++) {
    const float *v = row_of(keys->prefix_v, keys->chain_v, keys, t) + column;
    if (asks) ask_for(v + KEYS_AHEAD * keys->stride, 16 * vectors);
    for (int i = 0; i < vectors; i++) {
      lanes16 value = load16(v + 16 * i);
      for (int h = 0; h < heads; h++) total[h][i] += p.scores[h * p.stride + t] * value;
    }
  }
  int is_last = own.end == keys->prefix_count + keys->chain_count;
  for (int h = 0; h < heads; h++)
    for (int i = 0; i < vectors; i++)
      *(lanes16_unaligned *)(out + h * d + 16 * i) = is_last ? total[h][i] / p.sums[h] : total[h][i];
}

EAGLE_INLINE void weigh_columns(const int heads, const eagle_attention_keys *keys, span own, int asks, int64_t offset,
                                weights p, int64_t d, float *out) {
  int64_t i = 0;
  for (; i + COLUMNS <= d; i += COLUMNS) weigh(heads, COLUMNS / 16, keys, own, asks, offset + i, p, d, out + i);
  for (; i + 16 <= d; i += 16) weigh(heads, 1, keys, own, asks, offset + i, p, d, out + i);
  for (; i < d; i++)
    for (int h = 0; h < heads; h++) {
      float total = own.begin == 0 ? 0 : out[h * d + i];
      for (int64_t t = own.begin; t < own.end; t++)
        total += p.scores[h * p.stride + t] * row_of(keys->prefix_v, keys->chain_v, keys, t)[offset + i];
      out[h * d + i] = own.end == keys->prefix_count + keys->chain_count ? total / p.sums[h] : total;
    }
}

typedef struct {
  const float *q;
  int64_t rows, heads, group, d;
  const eagle_attention_keys *keys;
  float scale;
  float *scores;
  int64_t stride;    // floats of a head's scores
  int64_t together;  // rows at a time
  int64_t threads;   // that there are scores for
  float *out, *lse;
} row_by_row;

static int64_t count_of(const eagle_attention_keys *keys) { return keys->prefix_count + keys->chain_count; }

// Keys of the row that has most, in whole eights.
static int64_t longest(int64_t rows, const eagle_attention_keys *keys) {
  int64_t most = 1;
  for (int64_t r = 0; r < rows; r++)
    if (count_of(keys + r) > most) most = count_of(keys + r);
  return (most + KEYS - 1) / KEYS * KEYS;
}

// How many rows are attended together: as many as have room for their scores in the second cache.
static int64_t rows_together(int64_t rows, int64_t group, int64_t stride) {
  int64_t room = SCORES_TOGETHER / (group * stride), most = rows < ROWS ? rows : ROWS;
  return room < 1 ? 1 : room < most ? room : most;
}

// `heads` heads from `head` on, which share their keys, of the rows [first, end). The compiler takes both attributes of a function
// that has been declared before.
static void attend_together(const row_by_row *a, int64_t head, int64_t heads, int64_t first, int64_t end, float *scores);

EAGLE_DISPATCHED EAGLE_WIDE_VECTORS
static void attend_together(const row_by_row *a, int64_t head, int64_t heads, int64_t first, int64_t end, float *scores) {
  int64_t d = a->d, offset = head / a->group * d, stride = a->stride, most = longest(end - first, a->keys + first);
  int64_t together = end - first > 1 ? KEYS_TOGETHER : most;
  for (int64_t t = 0; t < most; t += together)
    for (int64_t r = first; r < end; r++) {
      const eagle_attention_keys *keys = a->keys + r;
      span own = {t, t + together < count_of(keys) ? t + together : count_of(keys)};
      int asks = r == first || keys->prefix_k != keys[-1].prefix_k;
      score(a->q + (r * a->heads + head) * d, heads, d, offset, keys, own, asks, a->scale,
            scores + (r - first) * heads * stride, stride);
    }
  float sums[ROWS][heads];
  for (int64_t r = first; r < end; r++)
    for (int64_t h = 0; h < heads; h++) {
      float *row = scores + ((r - first) * heads + h) * stride;
      float maximum = maximum_of(row, count_of(a->keys + r), row[0]);
      sums[r - first][h] = exponentiate(row, count_of(a->keys + r), maximum);
      if (a->lse) a->lse[r * a->heads + head + h] = maximum + logf(sums[r - first][h]);
    }
  // Sums of more than one head are more than the registers of AVX2 hold.
  int64_t in_flight = eagle_cpu_has_avx512() ? HEADS : 1;
  for (int64_t t = 0; t < most; t += together)
    for (int64_t r = first; r < end; r++) {
      const eagle_attention_keys *keys = a->keys + r;
      span own = {t, t + together < count_of(keys) ? t + together : count_of(keys)};
      if (own.begin >= own.end) continue;
      int asks = r == first || keys->prefix_v != keys[-1].prefix_v;
      for (int64_t h = 0, taken; h < heads; h += taken) {
        taken = heads - h < in_flight ? heads - h : in_flight;
        weights p = {scores + ((r - first) * heads + h) * stride, sums[r - first] + h, stride};
        float *out = a->out + (r * a->heads + head + h) * d;
        if (taken == 1) weigh_columns(1, keys, own, asks, offset, p, d, out);
        if (taken == 2) weigh_columns(2, keys, own, asks, offset, p, d, out);
        if (taken == 3) weigh_columns(3, keys, own, asks, offset, p, d, out);
        if (taken == 4) weigh_columns(4, keys, own, asks, offset, p, d, out);
      }
    }
}

// Tasks are heads, rows within a group of heads, groups: those that share keys are next to one another, and heads are small enough
// to share out a single row.
static void attend(void *context, eagle_tasks *tasks) {
  const row_by_row *a = context;
  if (tasks->thread >= a->threads) return;
  float *scores = a->scores + tasks->thread * a->together * a->group * a->stride;
  for (int64_t task, end; eagle_next_task(tasks, &task, &end);)
    for (int64_t taken; task < end; task += taken) {
      int64_t member = task % a->group, kv_head = task / a->group / a->rows, row = task / a->group % a->rows;
      int64_t heads = a->group - member < end - task ? a->group - member : end - task, rows = (end - task) / a->group;
      rows = rows < a->together ? rows : a->together;
      rows = heads < a->group || rows < 1 ? 1 : rows < a->rows - row ? rows : a->rows - row;
      attend_together(a, kv_head * a->group + member, heads, row, row + rows, scores);
      taken = rows * heads;
    }
}

int64_t eagle_attention_room(int64_t rows, int64_t heads, int64_t kv_heads, const eagle_attention_keys *keys,
                             int64_t threads) {
  int64_t group = heads / kv_heads, stride = longest(rows, keys);
  return threads * rows_together(rows, group, stride) * group * stride;
}

// Tasks of a piece: half of the heads of a single row for each of two threads, or else whole groups of as many rows as leave each
// thread three pieces.
static int64_t tasks_of_piece(int64_t rows, int64_t group, int64_t kv_heads, int64_t threads) {
  int64_t together = rows * kv_heads / (3 * threads);
  if (together == 0) return (rows * kv_heads * group + threads - 1) / threads;
  if (together > rows) together = rows;
  int64_t parts = (rows + together - 1) / together;
  return (rows + parts - 1) / parts * group;
}

void eagle_attention(const float *q, int64_t rows, int64_t heads, int64_t kv_heads, int64_t d,
                     const eagle_attention_keys *keys, float scale, float *scores, int64_t threads, float *out,
                     float *lse) {
  int64_t group = heads / kv_heads, stride = longest(rows, keys);
  row_by_row a = {q, rows, heads, group, d, keys, scale, scores, stride, rows_together(rows, group, stride),
                  threads, out, lse};
  eagle_parallel_for(rows * heads, tasks_of_piece(rows, group, kv_heads, threads), EAGLE_DYNAMIC, attend, &a);
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
