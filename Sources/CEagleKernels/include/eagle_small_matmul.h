// Small-M matmuls: few rows of x, weights that come from memory once.
#ifndef EAGLE_SMALL_MATMUL_API_H
#define EAGLE_SMALL_MATMUL_API_H

#include <stdint.h>

#include "eagle_rows.h"

typedef enum { EAGLE_WEIGHTS_F32, EAGLE_WEIGHTS_BF16, EAGLE_WEIGHTS_INT8 } eagle_weight_type;

/// y[m][n] = sum_k x[m][k] w[n][k] (+ bias[n]). The types of x and w are those of the function that takes it.
typedef struct {
  const void *x;          // [rows][k]
  const float *x_scales;  // [rows], of rows in 16 bits
  const void *w;          // [outputs][k]
  const float *w_scales;  // [outputs], of 8-bit weights
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

// MARK: 8-bit weights (small_matmul_int8.c and its variants)

typedef enum { EAGLE_INT8_BEST, EAGLE_INT8_PLAIN, EAGLE_INT8_AVX2, EAGLE_INT8_VNNI } eagle_int8_variant;
/// The matmul with 8-bit weights, w[n][k] w_scale[n], and rows of 16 bits, x[m][k] x_scale[m]. All variants give the
/// same bits.
void eagle_small_matmul_int8(eagle_int8_variant variant, const eagle_small_matmul *a, int64_t begin, int64_t end);

// MARK: several weights, on all threads (small_matmul_parallel.c)

typedef struct {
  const void *w;        // [outputs][k]
  const float *scales;  // [outputs], of 8-bit weights
  const float *bias;    // [outputs] or null
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
  int is_rounded;   // to bf16 where bf16 weights meet it, for processors with AVX512-BF16 alone
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
