// What the variants of the small-M matmul with weights in blocks have in common.
//
// Rows of x are rounded to 16 bits: x[i] ~ scale[i / 256] q[i], q from -16383 to 16383. A product of integers is exact,
// and so is the sum of the four products that fall on a lane from 32 elements, lane j taking those of 4 j to 4 j + 3.
// What is rounded is specified:
//
//   blocks of 32:   t[j] = 0; for each block  t[j] = fma(dot[j], d, t[j]), and t[0] = fma(sum of q, m, t[0])
//   blocks of 256:  t[j] = d sum of scale dot[j], and  t[g] = fma(-(minimum m), sum of q in group g, t[g])
//   every 256 elements, or fewer at the end of a row:  total[j] = fma(t[j], scale of x, total[j])
//   and at last the totals are added in halves.
//
// The rows of a pass lie side by side, [k / 32][rows][32], so that one address serves them all, and so do their scales
// and sums.
//
// The limits of q and of the scales keep each sum of 256 below 2^31: 32 products of 4096 and 16383 fall on a lane.
#ifndef EAGLE_SMALL_MATMUL_BLOCKS_H
#define EAGLE_SMALL_MATMUL_BLOCKS_H

#include "include/CEagleKernels.h"
#include "blocks.h"

enum { SPAN = 256, GROUP = 32, MAX_BLOCK_ROWS = 8 };

/// Spans of a row; the last may be shorter.
EAGLE_INLINE int64_t spans_of(int64_t k) { return (k + SPAN - 1) / SPAN; }

/// The rows of pass `index`, of equal numbers of rows: it begins at `begin`.
typedef struct { int64_t begin, count; } row_range;

EAGLE_INLINE int64_t passes_of(int64_t rows) { return (rows + MAX_BLOCK_ROWS - 1) / MAX_BLOCK_ROWS; }

EAGLE_INLINE row_range rows_of_pass(int64_t rows, int64_t index) {
  int64_t begin = rows * index / passes_of(rows);
  return (row_range){begin, rows * (index + 1) / passes_of(rows) - begin};
}

/// Where the sum of group g of row m lies: [spans][rows][8].
EAGLE_INLINE int64_t span_sums(int64_t rows, int64_t g, int64_t m) { return (g / 8 * rows + m) * 8 + g % 8; }

// One pass: up to MAX_BLOCK_ROWS rows for the outputs [begin, end).
void eagle_block_pass_avx2(const eagle_small_matmul *a, int64_t begin, int64_t end);
void eagle_block_pass_vnni(const eagle_small_matmul *a, int64_t begin, int64_t end);

#endif
