#include "include/CEagleKernels.h"

// y = x w^T for several w, their outputs counted on from one to the next and shared out among the threads. Between two loops of a
// decoding pass there are some microseconds at most, so nothing here allocates or counts references.

typedef struct {
  const eagle_weights *weights;
  int64_t count, rows, k;
  int lanes;
  int has_bf16, has_int8;
  const float *x;
  float *ordered;   // x for bf16 weights
  int16_t *x16;     // x for 8-bit weights
  float *x16_scales;
  float *y;
} products;

static int64_t outputs_of(const eagle_weights *weights, int64_t count) {
  int64_t outputs = 0;
  for (int64_t i = 0; i < count; i++) outputs += weights[i].outputs;
  return outputs;
}

// A multiple of all numbers of outputs that are in flight.
enum { GRAIN = 12 };

static void prepare(void *context, eagle_pieces *pieces) {
  const products *p = context;
  int64_t k = p->k, begin, end;
  while (eagle_next_piece(pieces, &begin, &end)) {
    if (p->has_bf16) eagle_few_rows_order(p->lanes, p->x + begin * k, p->ordered + begin * k, end - begin, k);
    if (p->has_int8)
      for (int64_t m = begin; m < end; m++) p->x16_scales[m] = eagle_quantize_int16(p->x + m * k, p->x16 + m * k, k);
  }
}

static void multiply_one(const products *p, const eagle_weights *w, float *y, int64_t begin, int64_t end) {
  switch (w->type) {
    case EAGLE_WEIGHTS_F32:
      return eagle_few_rows_f32(p->lanes, p->x, p->rows, p->k, w->w, w->bias, y, w->outputs, begin, end);
    case EAGLE_WEIGHTS_BF16:
      return eagle_few_rows_bf16(p->lanes, p->ordered, p->rows, p->k, w->w, w->bias, y, w->outputs, begin, end);
    case EAGLE_WEIGHTS_INT8:
      return eagle_few_rows_int8(p->x16, p->x16_scales, p->rows, p->k, w->w, w->scales, w->bias, y, w->outputs, begin,
                                 end, EAGLE_INT8_BEST);
  }
}

static void multiply(void *context, eagle_pieces *pieces) {
  const products *p = context;
  int64_t begin, end;
  while (eagle_next_piece(pieces, &begin, &end)) {
    int64_t first = 0;
    for (const eagle_weights *w = p->weights; w < p->weights + p->count; first += w++->outputs) {
      int64_t from = begin > first ? begin - first : 0, to = end - first < w->outputs ? end - first : w->outputs;
      if (from < to) multiply_one(p, w, p->y + first * p->rows, from, to);
    }
  }
}

int64_t eagle_products_room(int64_t rows, int64_t k) {
  return rows * (k * (int64_t)(sizeof(float) + sizeof(int16_t)) + (int64_t)sizeof(float));
}

void eagle_products(const float *x, int64_t rows, int64_t k, const eagle_weights *weights, int64_t count, float *y,
                    void *room) {
  products p = {.weights = weights, .count = count, .rows = rows, .k = k, .lanes = eagle_few_rows_lanes(), .x = x, .y = y};
  p.ordered = room;
  p.x16_scales = p.ordered + rows * k;
  p.x16 = (int16_t *)(p.x16_scales + rows);
  for (int64_t i = 0; i < count; i++) {
    p.has_bf16 |= weights[i].type == EAGLE_WEIGHTS_BF16;
    p.has_int8 |= weights[i].type == EAGLE_WEIGHTS_INT8;
  }
  if (p.has_bf16 || p.has_int8) eagle_parallel_for(rows, 16, EAGLE_EVEN, prepare, &p);
  eagle_parallel_for(outputs_of(weights, count), GRAIN, EAGLE_HALVES, multiply, &p);
}

void eagle_products_expect(const eagle_weights *weights, int64_t count, int64_t k) {
  int64_t outputs = outputs_of(weights, count);
  if (outputs == 0) return;
  static const int64_t bytes[] = {[EAGLE_WEIGHTS_F32] = 4, [EAGLE_WEIGHTS_BF16] = 2, [EAGLE_WEIGHTS_INT8] = 1};
  for (int64_t thread = 1, threads = eagle_thread_count(); thread < threads; thread++) {
    int64_t output = eagle_share_begin(outputs, GRAIN, thread);
    const eagle_weights *w = weights;
    while (output >= w->outputs) output -= w++->outputs;
    eagle_expect(thread, (const char *)w->w + output * k * bytes[w->type]);
  }
}
