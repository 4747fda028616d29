// Small-M matmuls: few rows of x, weights that come from memory once.
#ifndef EAGLE_SMALL_MATMUL_API_H
#define EAGLE_SMALL_MATMUL_API_H

#include <stdint.h>

#include "eagle_blocks.h"
#include "eagle_rows.h"

/// y[m][n] = sum_k x[m][k] w[n][k] (+ bias[n]). The types of x and w are those of the function that takes it.
typedef struct {
  const void *x;          // [rows][k]
  const float *x_scales;  // of rows in 16 bits: [rows][k / 256, rounded up]
  const float *x_sums;    // of the same rows: [rows][8 (k / 256, rounded up)]
  const void *w;          // [outputs][k]
  eagle_weight_type type;  // of w
  const float *bias;      // [outputs] or null
  float *y;               // [rows][y_stride]
  int64_t y_stride;
  int64_t rows, k;
} eagle_small_matmul;

// MARK: one weight, on the calling thread (small_matmul.c and its variants)

// All compute the outputs n in [begin, end). The order of additions of one row does not depend on how many rows are
// computed with it.

/// The lanes of a vector of this processor: 16 with AVX-512, else 8. The functions below take either where the
/// processor has it.
int eagle_small_matmul_lanes(void);
/// Rows and weights of float32.
void eagle_small_matmul_f32(int lanes, const eagle_small_matmul *a, int64_t begin, int64_t end);
/// float32 rows in the order that eagle_deinterleave makes, bfloat16 weights.
void eagle_small_matmul_bf16(int lanes, const eagle_small_matmul *a, int64_t begin, int64_t end);
/// y = x with the even elements of each two vectors before the odd ones; what does not fill them stays.
void eagle_deinterleave(int lanes, const float *x, float *y, int64_t rows, int64_t k);
/// Rows rounded to bfloat16, in their own order, bfloat16 weights; for processors with AVX512-BF16 alone.
void eagle_small_matmul_rounded(const eagle_small_matmul *a, int64_t begin, int64_t end);

/// The plain forms, which give the bits of those above: float32 rows in their own order, weights of float32 or
/// bfloat16, and rows rounded to bfloat16.
void eagle_small_matmul_plain(int lanes, eagle_weight_type type, const eagle_small_matmul *a, int64_t begin,
                              int64_t end);
void eagle_small_matmul_rounded_plain(const eagle_small_matmul *a, int64_t begin, int64_t end);

// MARK: weights in blocks (small_matmul_blocks.c and its variants)

typedef enum { EAGLE_BLOCKS_BEST, EAGLE_BLOCKS_PLAIN, EAGLE_BLOCKS_AVX2, EAGLE_BLOCKS_VNNI } eagle_block_variant;
/// The matmul with weights in blocks and rows of 16 bits, as eagle_quantize_row makes them. All variants give the same
/// bits.
void eagle_small_matmul_blocks(eagle_block_variant variant, const eagle_small_matmul *a, int64_t begin, int64_t end);
/// Row m of `rows` rows of k elements, whole thirty-twos, in 16 bits: x[i] ~ scales[i / 256] q[i] with q in
/// -16383..16383, rounded to the nearest, ties to even. A scale is NaN where an element is NaN or infinite.
///
/// Writes the row's part of q [rows][k], scales [rows][k / 256, rounded up] and sums [rows][8 (k / 256, rounded up)],
/// the sums of q over each 32, in an order that the matmul knows (small_matmul_blocks.h).
void eagle_quantize_row(const float *x, int64_t k, int64_t rows, int64_t m, int16_t *q, float *scales, float *sums);

// MARK: several weights, on all threads (small_matmul_parallel.c)

typedef struct {
  const void *w;      // [outputs][k]
  const float *bias;  // [outputs] or null
  int64_t outputs;
  eagle_weight_type type;
} eagle_weights;

/// The activation operand, [rows][k]: x, x normed as eagle_rms_norm does it where there is a norm, or what eagle_gated
/// makes of x and up where there is an up.
typedef struct {
  const float *x;
  int64_t rows, k;
  const float *norm;  // [k] or null
  float epsilon;
  const float *up;  // [rows][k] or null
  eagle_gate gate;
  float limit;
  int is_rounded;      // to bf16 where bf16 weights meet it, for processors with AVX512-BF16 alone
  int is_quantized;    // to 16 bits where weights in blocks meet it
} eagle_activation;

/// The small-M matmuls of an activation with all weights. The results, each dense, lie one behind the other in y.
/// `scratch` holds eagle_small_matmuls_scratch bytes.
void eagle_small_matmuls(const eagle_activation *a, const eagle_weights *weights, int64_t count, float *y,
                         void *scratch);
int64_t eagle_small_matmuls_scratch(int64_t rows, int64_t k);
/// Names the weights of the matmuls after the next ones: workers that wait prefetch the beginning of their partitions.
void eagle_weights_prefetch(const eagle_weights *weights, int64_t count, int64_t k);
/// Reads the same weights on all threads and multiplies nothing: the speed of memory. Returns the sum of their 64-bit
/// words, as far as a thread's part fills them.
uint64_t eagle_weights_read(const eagle_weights *weights, int64_t count, int64_t k);

#endif
