#include "include/CEagleKernels.h"

#include <stdatomic.h>
#include "dispatch.h"

// y = x w^T for several w, their outputs counted on from one to the next and shared out among the threads. Between two loops of a
// decoding pass there are some microseconds at most, so nothing here allocates or counts references.

typedef struct {
  eagle_factor factor;
  const eagle_weights *weights;
  int64_t count, rows, k;
  int lanes;
  int has_bf16, has_int8;
  float *x;        // the factor where it had to be made
  void *for_bf16;  // for bf16 weights: float *, in the order that eagle_few_rows_order makes, or uint16_t *, rounded
  int16_t *x16;    // for 8-bit weights
  float *x16_scales;
  float *y;
} products;

static int64_t outputs_of(const eagle_weights *weights, int64_t count) {
  int64_t outputs = 0;
  for (int64_t i = 0; i < count; i++) outputs += weights[i].outputs;
  return outputs;
}

enum {
  GRAIN = 12,         // outputs of the smallest piece: a multiple of all numbers of them that are in flight
  ROWS_APART = 16,    // fewer are prepared faster by one thread than another is told of them
  READ_AHEAD = 4096,  // bytes, of a plain reading
};

typedef struct {
  int64_t begin, end;
} outputs_range;

// Which outputs of w are in [begin, end), where its own begin at `first`; none when the range is empty.
static outputs_range own_outputs(const eagle_weights *w, int64_t first, int64_t begin, int64_t end) {
  return (outputs_range){begin > first ? begin - first : 0, end - first < w->outputs ? end - first : w->outputs};
}

static int is_made(const products *p) { return p->factor.norm || p->factor.up; }

static const float *factor_of(const products *p) { return is_made(p) ? p->x : p->factor.x; }

// The factor and its other forms, row by row.
static void prepare(void *context, eagle_tasks *tasks) {
  const products *p = context;
  int64_t k = p->k, begin, end;
  while (eagle_next_task(tasks, &begin, &end))
    for (int64_t m = begin; m < end; m++) {
      const float *given = p->factor.x + m * k, *x = factor_of(p) + m * k;
      if (p->factor.norm) eagle_rms_norm(given, k, p->factor.norm, p->factor.epsilon, p->x + m * k, k, 0, 1, k);
      if (p->factor.up) eagle_swiglu(given, p->factor.up + m * k, p->x + m * k, k);
      if (p->has_bf16 && p->factor.rounded) eagle_f32_to_bf16(x, (uint16_t *)p->for_bf16 + m * k, k);
      if (p->has_bf16 && !p->factor.rounded) eagle_few_rows_order(p->lanes, x, (float *)p->for_bf16 + m * k, 1, k);
      if (p->has_int8) p->x16_scales[m] = eagle_quantize_int16(x, p->x16 + m * k, k);
    }
}

static void multiply_one(const products *p, const eagle_weights *w, float *y, int64_t begin, int64_t end) {
  switch (w->type) {
    case EAGLE_WEIGHTS_F32:
      return eagle_few_rows_f32(p->lanes, factor_of(p), p->rows, p->k, w->w, w->bias, y, w->outputs, begin, end);
    case EAGLE_WEIGHTS_BF16:
      if (p->factor.rounded)
        return eagle_few_rows_bf16_pairs(p->for_bf16, p->rows, p->k, w->w, w->bias, y, w->outputs, begin, end);
      return eagle_few_rows_bf16(p->lanes, p->for_bf16, p->rows, p->k, w->w, w->bias, y, w->outputs, begin, end);
    case EAGLE_WEIGHTS_INT8:
      return eagle_few_rows_int8(p->x16, p->x16_scales, p->rows, p->k, w->w, w->scales, w->bias, y, w->outputs, begin,
                                 end, EAGLE_INT8_BEST);
  }
}

static void multiply(void *context, eagle_tasks *tasks) {
  const products *p = context;
  int64_t begin, end;
  while (eagle_next_task(tasks, &begin, &end)) {
    int64_t first = 0;
    for (const eagle_weights *w = p->weights; w < p->weights + p->count; first += w++->outputs) {
      outputs_range own = own_outputs(w, first, begin, end);
      if (own.begin < own.end) multiply_one(p, w, p->y + first * p->rows, own.begin, own.end);
    }
  }
}

int64_t eagle_products_room(int64_t rows, int64_t k) {
  return rows * (k * (int64_t)(2 * sizeof(float) + sizeof(int16_t)) + (int64_t)sizeof(float));
}

void eagle_products(eagle_factor factor, int64_t rows, int64_t k, const eagle_weights *weights, int64_t count, float *y,
                    void *room) {
  products p = {factor, weights, count, rows, k, .lanes = eagle_few_rows_lanes(), .x = room, .y = y};
  p.for_bf16 = p.x + rows * k;
  p.x16_scales = p.x + 2 * rows * k;
  p.x16 = (int16_t *)(p.x16_scales + rows);
  for (int64_t i = 0; i < count; i++) {
    p.has_bf16 |= weights[i].type == EAGLE_WEIGHTS_BF16;
    p.has_int8 |= weights[i].type == EAGLE_WEIGHTS_INT8;
  }
  if (is_made(&p) || p.has_bf16 || p.has_int8) eagle_parallel_for(rows, ROWS_APART, EAGLE_STATIC, prepare, &p);
  eagle_parallel_for(outputs_of(weights, count), GRAIN, EAGLE_GUIDED, multiply, &p);
}

static int64_t row_bytes(const eagle_weights *w, int64_t k) {
  return k * (w->type == EAGLE_WEIGHTS_F32 ? 4 : w->type == EAGLE_WEIGHTS_BF16 ? 2 : 1);
}

void eagle_products_expect(const eagle_weights *weights, int64_t count, int64_t k) {
  int64_t outputs = outputs_of(weights, count);
  if (outputs == 0) return;
  for (int64_t thread = 1, threads = eagle_thread_count(); thread < threads; thread++) {
    int64_t output = eagle_partition_begin(outputs, GRAIN, thread);
    const eagle_weights *w = weights;
    while (output >= w->outputs) output -= w++->outputs;
    eagle_prefetch_hint(thread, (const char *)w->w + output * row_bytes(w, k));
  }
}

typedef uint64_t word __attribute__((aligned(1)));

typedef struct {
  const eagle_weights *weights;
  int64_t count, k;
  _Atomic uint64_t sum;
} reading;

EAGLE_DISPATCHED
static uint64_t sum_of(const word *words, int64_t n) {
  uint64_t sum = 0, line[8] = {0};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __builtin_prefetch(words + i + READ_AHEAD / 8);
    for (int j = 0; j < 8; j++) line[j] += words[i + j];
  }
  for (; i < n; i++) sum += words[i];
  for (int j = 0; j < 8; j++) sum += line[j];
  return sum;
}

static void read_pieces(void *context, eagle_tasks *tasks) {
  reading *r = context;
  int64_t begin, end;
  while (eagle_next_task(tasks, &begin, &end)) {
    int64_t first = 0;
    for (const eagle_weights *w = r->weights; w < r->weights + r->count; first += w++->outputs) {
      outputs_range own = own_outputs(w, first, begin, end);
      const char *start = (const char *)w->w + own.begin * row_bytes(w, r->k);
      if (own.begin < own.end)
        atomic_fetch_add(&r->sum, sum_of((const word *)start, (own.end - own.begin) * row_bytes(w, r->k) / 8));
    }
  }
}

uint64_t eagle_products_read(const eagle_weights *weights, int64_t count, int64_t k) {
  reading r = {weights, count, k, 0};
  eagle_parallel_for(outputs_of(weights, count), GRAIN, EAGLE_GUIDED, read_pieces, &r);
  return atomic_load(&r.sum);
}
