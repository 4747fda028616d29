#include "include/CEagleKernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include "dispatch.h"

// Small-M matmuls y = x w^T of one x with several weights, on all threads: the outputs are counted on from one weight
// to the next and partitioned among the threads. Between two loops of a decoding pass there are some microseconds at
// most, so nothing here allocates or counts references.

typedef struct {
  const eagle_activation *activation;
  const eagle_weights *weights;
  int64_t count;
  int lanes;
  int has_bf16, has_blocks;
  float *x;        // the activation where it had to be computed
  void *for_bf16;  // for bf16 weights: float *, deinterleaved, or uint16_t *, rounded
  int16_t *x16;    // for weights in blocks
  float *x16_scales, *x16_sums;
  float *y;
} matmuls;

static int64_t outputs_of(const eagle_weights *weights, int64_t count) {
  int64_t outputs = 0;
  for (int64_t i = 0; i < count; i++) outputs += weights[i].outputs;
  return outputs;
}

enum {
  GRAIN = 12,            // outputs of the smallest task: a multiple of all numbers of them in flight
  ROWS_GRAIN = 16,       // fewer are prepared faster by one thread than another is woken
  PREFETCH_BYTES = 4096, // the prefetch distance of a plain read
  DECODED_FLOATS = 16384, // 64 kB on the stack of a thread
};

typedef struct {
  int64_t begin, end;
} output_range;

/// Which outputs of w, whose first is output `first` of all weights, are in [begin, end); an empty range when none are.
static output_range outputs_within(const eagle_weights *w, int64_t first, int64_t begin, int64_t end) {
  return (output_range){begin > first ? begin - first : 0, end - first < w->outputs ? end - first : w->outputs};
}

static int is_computed(const eagle_activation *a) { return a->norm || a->up; }

static const float *activation_rows(const matmuls *p) { return is_computed(p->activation) ? p->x : p->activation->x; }

/// Row m of the activation, in all the forms in which the weights take it.
static void prepare_row(const matmuls *p, int64_t m) {
  const eagle_activation *a = p->activation;
  int64_t k = a->k;
  const float *given = a->x + m * k, *x = activation_rows(p) + m * k;
  if (a->norm) eagle_rms_norm(given, k, a->norm, a->epsilon, p->x + m * k, k, 0, 1, k);
  if (a->up) eagle_gated(a->gate, a->limit, given, a->up + m * k, p->x + m * k, k);
  if (p->has_bf16 && a->is_rounded) eagle_f32_to_bf16(x, (uint16_t *)p->for_bf16 + m * k, k);
  if (p->has_bf16 && !a->is_rounded) eagle_deinterleave(p->lanes, x, (float *)p->for_bf16 + m * k, 1, k);
  if (p->has_blocks && a->is_quantized) eagle_quantize_row(x, k, a->rows, m, p->x16, p->x16_scales, p->x16_sums);
}

static void prepare(void *context, eagle_tasks *tasks) {
  int64_t begin, end;
  while (eagle_next_task(tasks, &begin, &end))
    for (int64_t m = begin; m < end; m++) prepare_row(context, m);
}

/// Some outputs of a weight that float32 rows do not meet as it is stored: its values as float32, a few outputs at a
/// time.
static void multiply_decoded(int lanes, eagle_small_matmul a, output_range outputs) {
  float values[DECODED_FLOATS];
  int64_t k = a.k, block = eagle_block_length(a.type), bytes = k / block * eagle_block_bytes(a.type);
  float *w = k <= DECODED_FLOATS ? values : malloc(k * sizeof *w);
  int64_t count = k <= DECODED_FLOATS ? DECODED_FLOATS / k : 1;
  const char *stored = a.w;
  for (int64_t n = outputs.begin; n < outputs.end; n += count) {
    eagle_small_matmul part = a;
    int64_t end = n + count < outputs.end ? n + count : outputs.end;
    eagle_weights_decode(a.type, stored + n * bytes, (end - n) * k, w);
    part.w = w;
    part.type = EAGLE_WEIGHTS_F32;
    part.y += n;
    if (a.bias) part.bias += n;
    eagle_small_matmul_f32(lanes, &part, 0, end - n);
  }
  if (w != values) free(w);
}

/// Some outputs of one weight, whose results lie at y.
static void multiply_one(const matmuls *p, const eagle_weights *w, float *y, output_range outputs) {
  eagle_small_matmul a = {.w = w->w, .type = w->type, .bias = w->bias, .y = y, .y_stride = w->outputs,
                          .rows = p->activation->rows, .k = p->activation->k};
  switch (w->type) {
    case EAGLE_WEIGHTS_F32:
      a.x = activation_rows(p);
      return eagle_small_matmul_f32(p->lanes, &a, outputs.begin, outputs.end);
    case EAGLE_WEIGHTS_BF16:
      a.x = p->for_bf16;
      if (p->activation->is_rounded) return eagle_small_matmul_rounded(&a, outputs.begin, outputs.end);
      return eagle_small_matmul_bf16(p->lanes, &a, outputs.begin, outputs.end);
    case EAGLE_WEIGHTS_F16:
      a.x = activation_rows(p);
      return multiply_decoded(p->lanes, a, outputs);
    default:
      a.x = activation_rows(p);
      if (!p->activation->is_quantized) return multiply_decoded(p->lanes, a, outputs);
      a.x = p->x16;
      a.x_scales = p->x16_scales;
      a.x_sums = p->x16_sums;
      return eagle_small_matmul_blocks(EAGLE_BLOCKS_BEST, &a, outputs.begin, outputs.end);
  }
}

static void multiply(void *context, eagle_tasks *tasks) {
  const matmuls *p = context;
  int64_t begin, end;
  while (eagle_next_task(tasks, &begin, &end)) {
    int64_t first = 0;
    for (const eagle_weights *w = p->weights; w < p->weights + p->count; first += w++->outputs) {
      output_range outputs = outputs_within(w, first, begin, end);
      if (outputs.begin < outputs.end) multiply_one(p, w, p->y + first * p->activation->rows, outputs);
    }
  }
}

int64_t eagle_small_matmuls_scratch(int64_t rows, int64_t k) {
  int64_t spans = (k + 255) / 256;
  return rows * (k * (int64_t)(2 * sizeof(float) + sizeof(int16_t)) + 9 * spans * (int64_t)sizeof(float));
}

void eagle_small_matmuls(const eagle_activation *a, const eagle_weights *weights, int64_t count, float *y,
                         void *scratch) {
  matmuls p = {a, weights, count, .lanes = eagle_small_matmul_lanes(), .x = scratch, .y = y};
  p.for_bf16 = p.x + a->rows * a->k;
  int64_t spans = (a->k + 255) / 256;
  p.x16_scales = p.x + 2 * a->rows * a->k;
  p.x16_sums = p.x16_scales + a->rows * spans;
  p.x16 = (int16_t *)(p.x16_sums + a->rows * spans * 8);
  for (int64_t i = 0; i < count; i++) {
    p.has_bf16 |= weights[i].type == EAGLE_WEIGHTS_BF16;
    p.has_blocks |= weights[i].type >= EAGLE_WEIGHTS_Q8_0;
  }
  if (is_computed(a) || p.has_bf16 || (p.has_blocks && a->is_quantized))
    eagle_parallel_for(a->rows, ROWS_GRAIN, EAGLE_STATIC, prepare, &p);
  eagle_parallel_for(outputs_of(weights, count), GRAIN, EAGLE_GUIDED, multiply, &p);
}

// MARK: reading ahead

static int64_t row_bytes(const eagle_weights *w, int64_t k) {
  return k / eagle_block_length(w->type) * eagle_block_bytes(w->type);
}

void eagle_weights_prefetch(const eagle_weights *weights, int64_t count, int64_t k) {
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
static uint64_t sum_words(const word *words, int64_t n) {
  uint64_t sum = 0, line[8] = {0};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __builtin_prefetch(words + i + PREFETCH_BYTES / 8);
    for (int j = 0; j < 8; j++) line[j] += words[i + j];
  }
  for (; i < n; i++) sum += words[i];
  for (int j = 0; j < 8; j++) sum += line[j];
  return sum;
}

static void read_weights(void *context, eagle_tasks *tasks) {
  reading *r = context;
  int64_t begin, end;
  while (eagle_next_task(tasks, &begin, &end)) {
    int64_t first = 0;
    for (const eagle_weights *w = r->weights; w < r->weights + r->count; first += w++->outputs) {
      output_range outputs = outputs_within(w, first, begin, end);
      if (outputs.begin >= outputs.end) continue;
      int64_t bytes = row_bytes(w, r->k);
      const char *start = (const char *)w->w + outputs.begin * bytes;
      atomic_fetch_add(&r->sum, sum_words((const word *)start, (outputs.end - outputs.begin) * bytes / 8));
    }
  }
}

uint64_t eagle_weights_read(const eagle_weights *weights, int64_t count, int64_t k) {
  reading r = {weights, count, k, 0};
  eagle_parallel_for(outputs_of(weights, count), GRAIN, EAGLE_GUIDED, read_weights, &r);
  return atomic_load(&r.sum);
}
