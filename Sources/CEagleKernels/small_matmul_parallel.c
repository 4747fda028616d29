#include "include/CEagleKernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "dispatch.h"

// Small-M matmuls y = x w^T of one x with several weights, on all threads: the outputs are counted on from one weight
// to the next and partitioned among the threads. Between two loops of a decoding pass there are some microseconds at
// most, so nothing here counts references, and only decoding blocks of long rows allocates.

typedef struct {
  const eagle_activation *activation;
  const eagle_weights *weights;
  int64_t count;
  int lanes;
  int has_bf16, has_blocks;
  float *x;        // the activation where it had to be computed
  void *for_bf16;  // for bf16 weights: deinterleaved, or rounded
  void *quantized; // for weights in blocks
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

/// Where an output begins, or the tile that holds it.
static const char *start_of(const eagle_weights *w, int64_t output, int64_t k) {
  if (w->tiles) return (const char *)w->tiles + output / 8 * eagle_tile_bytes(w->type, k);
  return (const char *)w->w + output * (k / eagle_block_length(w->type) * eagle_block_bytes(w->type));
}

/// Which outputs of w, whose first is output `first` of all weights, are in [begin, end); an empty range when none are.
static output_range outputs_within(const eagle_weights *w, int64_t first, int64_t begin, int64_t end) {
  return (output_range){begin > first ? begin - first : 0, end - first < w->outputs ? end - first : w->outputs};
}

static int is_computed(const eagle_activation *a) { return a->norm || a->up; }

void eagle_activation_row(const eagle_activation *a, int64_t row, float *y) {
  int64_t k = a->k;
  const float *x = a->x + row * k;
  if (a->norm) eagle_rms_norm(x, k, a->norm, a->epsilon, y, k, 0, 1, k);
  else if (a->up) eagle_gated(a->gate, a->limit, x, a->up + row * k, y, k);
  else memcpy(y, x, k * sizeof *y);
}

static const float *activation_rows(const matmuls *p) { return is_computed(p->activation) ? p->x : p->activation->x; }

/// Row m of the activation, in all the forms in which the weights take it.
static void prepare_row(const matmuls *p, int64_t m) {
  const eagle_activation *a = p->activation;
  int64_t k = a->k;
  const float *x = activation_rows(p) + m * k;
  if (is_computed(a)) eagle_activation_row(a, m, p->x + m * k);
  if (p->has_bf16 && a->is_rounded) eagle_round_row(x, k, a->rows, m, p->for_bf16);
  if (p->has_bf16 && !a->is_rounded) eagle_deinterleave(p->lanes, x, (float *)p->for_bf16 + m * k, 1, k);
  if (p->has_blocks && a->is_quantized) eagle_quantize_row(x, k, a->rows, m, p->quantized);
}

static void prepare(void *context, eagle_tasks *tasks) {
  int64_t begin, end;
  while (eagle_next_task(tasks, &begin, &end))
    for (int64_t m = begin; m < end; m++) prepare_row(context, m);
}

/// Some outputs of a weight that has no kernel for float32 rows in its stored format: decodes its values to float32, a
/// few outputs at a time, whole tiles where it has them.
static void multiply_decoded(int lanes, const eagle_weights *w, eagle_small_matmul a, output_range outputs) {
  float values[DECODED_FLOATS];
  int64_t k = a.k, step = DECODED_FLOATS / k / 8 * 8;
  float *decoded = step > 0 ? values : malloc(8 * k * sizeof *decoded);
  if (step == 0) step = 8;
  if (w->tiles) outputs = (output_range){(outputs.begin + 7) / 8 * 8, (outputs.end + 7) / 8 * 8};
  if (outputs.end > w->outputs) outputs.end = w->outputs;
  for (int64_t n = outputs.begin, count; n < outputs.end; n += count) {
    eagle_small_matmul part = a;
    count = n + step < outputs.end ? step : outputs.end - n;
    if (!w->tiles) eagle_weights_decode(a.type, start_of(w, n, k), count * k, decoded);
    else
      for (int64_t o = 0; o < count; o += 8)
        eagle_tile_decode(a.type, start_of(w, n + o, k), count - o < 8 ? count - o : 8, k, decoded + o * k);
    part.w = decoded;
    part.type = EAGLE_WEIGHTS_F32;
    part.y += n;
    if (a.bias) part.bias += n;
    eagle_small_matmul_f32(lanes, &part, 0, count);
  }
  if (decoded != values) free(decoded);
}

/// Some outputs of one weight, whose results are written to y.
static void multiply_one(const matmuls *p, const eagle_weights *w, float *y, output_range outputs) {
  eagle_small_matmul a = {.w = w->w, .type = w->type, .bias = w->bias, .y = y, .y_stride = w->outputs,
                          .rows = p->activation->rows, .k = p->activation->k, .outputs = w->outputs};
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
      return eagle_small_matmul_f16(p->lanes, &a, outputs.begin, outputs.end);
    default:
      a.x = activation_rows(p);
      if (!p->activation->is_quantized) return multiply_decoded(p->lanes, w, a, outputs);
      a.x = p->quantized;
      if (!w->tiles) return eagle_small_matmul_blocks(&a, outputs.begin, outputs.end);
      a.w = w->tiles;
      return eagle_small_matmul_tiles(EAGLE_TILES_BEST, &a, outputs.begin, outputs.end);
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

static int64_t bytes_for_bf16(int64_t rows, int64_t k) {
  int64_t wide = rows * k * (int64_t)sizeof(float), rounded = eagle_rounded_bytes(rows, k);
  return wide > rounded ? wide : rounded;
}

int64_t eagle_small_matmuls_scratch(int64_t rows, int64_t k) {
  return rows * k * (int64_t)sizeof(float) + bytes_for_bf16(rows, k) + eagle_quantized_bytes(rows, k);
}

void eagle_small_matmuls(const eagle_activation *a, const eagle_weights *weights, int64_t count, float *y,
                         void *scratch) {
  matmuls p = {a, weights, count, .lanes = eagle_small_matmul_lanes(), .x = scratch, .y = y};
  p.for_bf16 = p.x + a->rows * a->k;
  p.quantized = (char *)p.for_bf16 + bytes_for_bf16(a->rows, a->k);
  for (int64_t i = 0; i < count; i++) {
    p.has_bf16 |= weights[i].type == EAGLE_WEIGHTS_BF16;
    p.has_blocks |= weights[i].type >= EAGLE_WEIGHTS_Q8_0;
  }
  if (is_computed(a) || p.has_bf16 || (p.has_blocks && a->is_quantized))
    eagle_parallel_for(a->rows, ROWS_GRAIN, EAGLE_STATIC, prepare, &p);
  eagle_parallel_for(outputs_of(weights, count), GRAIN, EAGLE_GUIDED, multiply, &p);
}

// MARK: reading ahead

void eagle_weights_prefetch(const eagle_weights *weights, int64_t count, int64_t k) {
  int64_t outputs = outputs_of(weights, count);
  if (outputs == 0) return;
  for (int64_t thread = 1, threads = eagle_thread_count(); thread < threads; thread++) {
    int64_t output = eagle_partition_begin(outputs, GRAIN, thread);
    const eagle_weights *w = weights;
    while (output >= w->outputs) output -= w++->outputs;
    eagle_prefetch_hint(thread, start_of(w, output, k));
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
      const char *start = start_of(w, outputs.begin, r->k);
      atomic_fetch_add(&r->sum, sum_words((const word *)start, (start_of(w, outputs.end, r->k) - start) / 8));
    }
  }
}

uint64_t eagle_weights_read(const eagle_weights *weights, int64_t count, int64_t k) {
  reading r = {weights, count, k, 0};
  eagle_parallel_for(outputs_of(weights, count), GRAIN, EAGLE_GUIDED, read_weights, &r);
  return atomic_load(&r.sum);
}
