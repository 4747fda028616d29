// What the variants of the small-M matmul have in common: sizes, and the ways in which weights are prefetched.
#ifndef EAGLE_SMALL_MATMUL_H
#define EAGLE_SMALL_MATMUL_H

#include "include/CEagleKernels.h"
#include "vector.h"

// The weights are contiguous in memory, but are read at several addresses at once, which the processor's own prefetch
// does not follow: so each block prefetches bytes a little further ahead. Where a block of several outputs is longer
// than that, several rows prefetch what comes next in each output; one row prefetches in the order of memory, a block
// ahead.
//
// Rows of x that would evict the weights from the L1 cache are processed in ranges of k: all outputs of a chunk compute
// one range, then the next, and keep their partial sums in between. They also prefetch what comes next in each output.
enum {
  CHUNK_BYTES = 16384,               // of weights that several passes take
  PREFETCH_BYTES = 12288,            // the prefetch distance in the order of memory
  PREFETCH_PAST_BLOCK = 4096,        // bytes beyond a block, where that is the distance
  OUTPUT_PREFETCH_BYTES = 1536,      // the distance within each output
  ROUNDED_OUTPUT_PREFETCH_BYTES = 2048,  // the same for rows rounded to bfloat16, which take half the time
  L1_BYTES = 27648,                  // of x: most of an L1 cache of 32 kB
  LONG_K = 1536,                     // beyond it a single output takes too long for the next to begin meanwhile
  MIN_CHUNK = 12,                    // outputs: a multiple of all numbers of them in flight
  MAX_PASS_ROWS = 9,                 // those of a tree of eight drafts
  MAX_SUMS = 18,                     // rows times outputs in flight
  MAX_TOTALS = 32,                   // the same, in whole vectors
  MAX_OUTPUTS = 4,                   // in flight
  ROUNDED_GROUP = 32,                // elements of a row rounded to bfloat16 that are stored together
};

// Rounded rows of up to LONG_K elements are never processed in ranges.
_Static_assert(MAX_PASS_ROWS * LONG_K * (int)sizeof(uint16_t) <= L1_BYTES, "LONG_K");

/// Prefetches into L2: in L1, weights that are not needed yet would evict x.
#define EAGLE_PREFETCH(address) __builtin_prefetch(address, 0, 2)

/// The weights that a pass prefetches while it reads others.
typedef struct {
  int64_t begin, end;       // values of k during which it prefetches
  int64_t bytes;            // the distance in the order of memory
  int64_t output_distance;  // where it is not 0: the distance within each output instead, in weights
} prefetch_plan;

/// Values of k that a block adds, and the weights that are read after it.
typedef struct {
  int64_t begin, end;
  const void *next;
} k_range;

/// The addresses that a block prefetches from.
typedef struct {
  prefetch_plan plan;
  const void *w;       // of the block
  const void *beyond;  // the next weights, as if k continued
  const char *ahead;   // w and the distance in the order of memory
  int64_t end;         // of the block's range
} prefetch_source;

/// Outputs whose weights, of `bytes` each, about fill a chunk.
EAGLE_INLINE int64_t chunk_outputs(int64_t bytes) {
  int64_t outputs = CHUNK_BYTES / (bytes + 1) / MIN_CHUNK * MIN_CHUNK;
  return outputs < MIN_CHUNK ? MIN_CHUNK : outputs;
}

/// The length of a range of k, whose values have `bytes` each in x. Where it is not all of k, a chunk has the least
/// number of outputs. One row, or up to three rounded ones, are read from the L2 cache fast enough.
EAGLE_INLINE int64_t range_length(int64_t rows, int64_t k, int64_t bytes) {
  return rows * bytes <= 6 || rows * k * bytes <= L1_BYTES ? k : (rows <= 5 ? 4096 : 2048) / bytes;
}

/// Writes y = totals, [rows][outputs], plus the bias.
EAGLE_INLINE void store_totals(const int rows, const int outputs, const float *totals, const eagle_small_matmul *a) {
  for (int n = 0; n < outputs; n++) {
    float added = a->bias ? a->bias[n] : 0.0f;
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) a->y[m * a->y_stride + n] = totals[m * outputs + n] + added;
  }
}

#if defined(__x86_64__)
/// totals[i] = the sum of v[i], whose lanes are added in halves, for up to sixteen vectors together. Overwrites v.
EAGLE_INLINE_AVX512 void sum_sixteen(int count, f32x16 *v, float *totals) {
  int halves = (count + 1) / 2, quarters = (halves + 1) / 2, eighths = (quarters + 1) / 2;
  for (int i = 0; i < halves; i++) v[i] = ADD_HALVES(v[2 * i], v[2 * i + (2 * i + 1 < count)]);
  for (int i = 0; i < quarters; i++) v[i] = ADD_QUARTERS(v[2 * i], v[2 * i + (2 * i + 1 < halves)]);
  for (int i = 0; i < eighths; i++) v[i] = ADD_EIGHTHS(v[2 * i], v[2 * i + (2 * i + 1 < quarters)]);
  *(f32x16_unaligned *)totals = ADD_NEIGHBOURS(v[0], v[eighths > 1]);
}

/// The same for up to MAX_SUMS vectors.
EAGLE_INLINE_AVX512 void sum_lanes16(int count, f32x16 *v, float *totals) {
  sum_sixteen(count < 16 ? count : 16, v, totals);
  if (count > 16) sum_sixteen(count - 16, v + 16, totals + 16);
}
#endif

// The variants, a file each. Those of weights without blocks take either number of lanes where the processor has it.
void eagle_small_matmul_f32x8(const eagle_small_matmul *a, int64_t begin, int64_t end);
void eagle_small_matmul_f32x16(const eagle_small_matmul *a, int64_t begin, int64_t end);
void eagle_small_matmul_f16x8(const eagle_small_matmul *a, int64_t begin, int64_t end);
void eagle_small_matmul_f16x16(const eagle_small_matmul *a, int64_t begin, int64_t end);
void eagle_small_matmul_bf16x8(const eagle_small_matmul *a, int64_t begin, int64_t end);
void eagle_small_matmul_bf16x16(const eagle_small_matmul *a, int64_t begin, int64_t end);
void eagle_small_matmul_rounded_short(const eagle_small_matmul *a, int64_t begin, int64_t end);
void eagle_small_matmul_rounded_long(const eagle_small_matmul *a, int64_t begin, int64_t end);

#endif
