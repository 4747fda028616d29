// Small-M matmuls: few rows of x, weights that come from memory once.
#ifndef EAGLE_SMALL_MATMUL_API_H
#define EAGLE_SMALL_MATMUL_API_H

#include <stdint.h>

#include "eagle_blocks.h"
#include "eagle_rows.h"

/// y[m][n] = sum_k x[m][k] w[n][k] (+ bias[n]). The types of x and w are those of the function that takes it.
typedef struct {
  const void *x;           // [rows][k]
  const void *w;           // [outputs][k]
  eagle_weight_type type;  // of w
  const float *bias;       // [outputs] or null
  float *y;                // [rows][y_stride]
  int64_t y_stride;
  int64_t rows, k;
  int64_t outputs;         // of all of w, where it has tiles
} eagle_small_matmul;

// MARK: one weight, on the calling thread (small_matmul.c and its variants)

// All compute the outputs n in [begin, end). The order of additions of one row does not depend on how many rows are
// computed with it.

/// The lanes of a vector of this processor: 16 with AVX-512, else 8. The functions below take either where the
/// processor has it.
int eagle_small_matmul_lanes(void);
/// Rows of float32, weights of float32 or float16.
void eagle_small_matmul_f32(int lanes, const eagle_small_matmul *a, int64_t begin, int64_t end);
void eagle_small_matmul_f16(int lanes, const eagle_small_matmul *a, int64_t begin, int64_t end);
/// float32 rows in the order that eagle_deinterleave makes, bfloat16 weights.
void eagle_small_matmul_bf16(int lanes, const eagle_small_matmul *a, int64_t begin, int64_t end);
/// y = x with the even elements of each two vectors before the odd ones; what does not fill them stays.
void eagle_deinterleave(int lanes, const float *x, float *y, int64_t rows, int64_t k);
/// Row m of `rows` rows of k elements, rounded to bfloat16. Groups of 32 elements of all rows are stored together, so
/// that no two rows are a power of two apart, which would put them in the same lines of a cache. Writes the row's part
/// of the eagle_rounded_bytes(rows, k) bytes that eagle_small_matmul_rounded takes for x.
void eagle_round_row(const float *x, int64_t k, int64_t rows, int64_t m, void *groups);
int64_t eagle_rounded_bytes(int64_t rows, int64_t k);
/// Rows that eagle_round_row has made, bfloat16 weights; for processors with AVX512-BF16 alone.
void eagle_small_matmul_rounded(const eagle_small_matmul *a, int64_t begin, int64_t end);

/// The plain forms, which give the bits of those above: float32 rows in their own order, weights without blocks, and
/// rows rounded to bfloat16, which are stored one after the other here.
void eagle_small_matmul_plain(int lanes, eagle_weight_type type, const eagle_small_matmul *a, int64_t begin,
                              int64_t end);
void eagle_small_matmul_rounded_plain(const eagle_small_matmul *a, int64_t begin, int64_t end);

// MARK: weights in blocks (small_matmul_blocks.c, and the variants for tiles)

/// Row m of `rows` rows of k elements, a multiple of 32, in 8 bits: x[i] ~ scale[i / 32] q[i] with q in -127..127,
/// rounded to the nearest, ties to even. A scale is NaN where one of its elements is NaN or infinite. Writes the row's
/// part of the eagle_quantized_bytes(rows, k) bytes that the functions below take for x.
void eagle_quantize_row(const float *x, int64_t k, int64_t rows, int64_t m, void *groups);
int64_t eagle_quantized_bytes(int64_t rows, int64_t k);
/// The matmul with rows of blocks, on any processor, slow: the reference for the bits of the others.
void eagle_small_matmul_blocks(const eagle_small_matmul *a, int64_t begin, int64_t end);

typedef enum { EAGLE_TILES_BEST, EAGLE_TILES_AVX2 } eagle_tile_variant;
/// The same with tiles of 8 outputs, as eagle_tile_pack makes them, for the tiles that begin in [begin, end).
void eagle_small_matmul_tiles(eagle_tile_variant variant, const eagle_small_matmul *a, int64_t begin, int64_t end);
/// Whether this processor multiplies tiles.
int eagle_has_tiles(void);

// MARK: several weights, on all threads (small_matmul_parallel.c)

typedef struct {
  const void *w;      // [outputs][k]
  const void *tiles;  // the same weights in tiles, or null
  const float *bias;  // [outputs] or null
  int64_t outputs;
  eagle_weight_type type;
} eagle_weights;

/// The activation operand, [rows][k]: x, x normed as eagle_rms_norm does it where there is a norm, or the result of
/// eagle_gated for x and up where there is an up.
typedef struct {
  const float *x;
  int64_t rows, k;
  const float *norm;  // [k] or null
  float epsilon;
  const float *up;  // [rows][k] or null
  eagle_gate gate;
  float limit;
  int is_rounded;      // to bf16 where bf16 weights meet it, for processors with AVX512-BF16 alone
  int is_quantized;    // to 8 bits where weights in blocks meet it
} eagle_activation;

/// y [k] = a row of the activation before any rounding.
void eagle_activation_row(const eagle_activation *a, int64_t row, float *y);

/// The small-M matmuls of an activation with all weights. The results, each dense, are stored one after the other in y.
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
