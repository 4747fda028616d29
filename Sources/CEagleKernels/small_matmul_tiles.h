// What the variants of the small-M matmul with weights in blocks have in common.
//
// Activations are rounded to 8 bits in groups of 32: x[i] ~ scale q[i], q from -127 to 127. What is exact, and what is
// rounded, is specified, so that every variant gives the same bits. For each group of 32 elements, or half of one where
// a format has a scale for 16:
//
//   total = fma(sum of w q, scale of w * scale of x, total)     the sum of integers is exact
//   total = fma(minimum of w, scale of x * sum of q, total)     where the format has minima
//
// with the products of scales rounded to float32. Groups are taken in their order.
#ifndef EAGLE_SMALL_MATMUL_TILES_H
#define EAGLE_SMALL_MATMUL_TILES_H

#include "include/CEagleKernels.h"
#include "small_matmul.h"
#include "tiles.h"

/// 32 elements of a row: a cache line. Where elements of w are stored as unsigned bytes, their sum of products is too
/// large by the offset of an element times the sum of q; so each sum begins with that product, negative.
typedef struct {
  int8_t q[GROUP];
  float scale, scaled_sum;  // scaled_sum: scale * sum of q
  int32_t offset_8, offset_16, offset_128;
  int32_t half_offset_32[2];  // of the first and the last 16
  int32_t unused;
} quantized_group;

/// Rows of a pass, whose totals stay in registers where there are 32 of them.
enum { MAX_TILE_ROWS = 9 };

/// One pass: up to MAX_TILE_ROWS rows, of a->rows, from row `first` on, for the tiles that begin in the outputs
/// [begin, end).
typedef void tile_pass(const eagle_small_matmul *a, int64_t first, int64_t rows, int64_t begin, int64_t end);
tile_pass eagle_tile_pass_avx2, eagle_tile_pass_vnni;

#endif
