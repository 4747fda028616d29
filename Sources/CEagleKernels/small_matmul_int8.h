// What the variants of the small-M matmul with 8-bit weights have in common.
#ifndef EAGLE_SMALL_MATMUL_INT8_H
#define EAGLE_SMALL_MATMUL_INT8_H

#include "include/CEagleKernels.h"
#include "dispatch.h"

typedef struct {
  const int16_t *x;
  const float *x_scales;
  int64_t k;
  const int8_t *w;
  const float *w_scales, *bias;
  float *y;
  int64_t y_stride;
  int64_t distance;  // of the prefetch, in bytes
} int8_operands;

/// x_scale w_scale sum (+ bias). Fused on purpose: a compiler that fuses in one variant and not in another would tell
/// them apart.
EAGLE_INLINE float scale_sum(int32_t sum, float x_scale, float w_scale, const float *bias, int64_t n) {
  float scale = x_scale * w_scale;
  return bias ? __builtin_fmaf((float)sum, scale, bias[n]) : (float)sum * scale;
}

// One pass: some of the rows that are left, at most as many as registers allow, for the outputs [n, end). They return
// how many.
int64_t eagle_int8_pass_avx2(int8_operands a, int64_t rows_left, int64_t n, int64_t end);
int64_t eagle_int8_pass_vnni(int8_operands a, int64_t rows_left, int64_t n, int64_t end);

#endif
