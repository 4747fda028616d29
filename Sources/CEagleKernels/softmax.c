#include "include/CEagleKernels.h"

#include <math.h>
#include "dispatch.h"
#include "exponential.h"

EAGLE_DISPATCHED
static float row_maximum(const float *x, int64_t n) {
  EAGLE_REASSOCIATE
  float maximum = x[0];
  for (int64_t i = 1; i < n; i++) maximum = x[i] > maximum ? x[i] : maximum;
  return maximum;
}

int64_t eagle_argmax(const float *x, int64_t n) {
  // The first of equal maxima, as in NumPy and PyTorch.
  float maximum = row_maximum(x, n);
  for (int64_t i = 0; i < n; i++)
    if (x[i] == maximum) return i;
  return 0;
}

EAGLE_DISPATCHED
static float exp_in_place(float *x, int64_t n, float shift) {
  EAGLE_REASSOCIATE
  float sum = 0;
  for (int64_t i = 0; i < n; i++) {
    float e = eagle_expf(x[i] - shift);
    x[i] = e;
    sum += e;
  }
  return sum;
}

float eagle_exp_row(float *x, int64_t n, float *maximum) {
  *maximum = row_maximum(x, n);
  return exp_in_place(x, n, *maximum);
}

EAGLE_DISPATCHED
static float dot_row(const float *a, const float *b, int64_t n) {
  EAGLE_REASSOCIATE
  float sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

float eagle_softmax_row(float *x, int64_t n) {
  float maximum;
  float sum = eagle_exp_row(x, n, &maximum);
  eagle_scale(x, 1.0f / sum, n);
  return maximum + logf(sum);
}

EAGLE_DISPATCHED
static float gradient_row(float *restrict z, const float *restrict q, int64_t n, float draft_scale, float full_scale,
                          float weight) {
  EAGLE_REASSOCIATE
  float overlap = 0;
  for (int64_t i = 0; i < n; i++) {
    float draft = z[i] * draft_scale, full = q[i] * full_scale;
    overlap += draft < full ? draft : full;
    z[i] = weight * (draft - q[i]);
  }
  return overlap;
}

float eagle_cross_entropy_row(float *z, const float *q, int64_t n, float weight, float full_scale, float *overlap) {
  // CE(q, softmax(z)) = lse(z) - sum_i q_i z_i;  dCE/dz = softmax(z) - q
  float maximum;
  float dot = dot_row(q, z, n);
  float sum = eagle_exp_row(z, n, &maximum);
  *overlap = gradient_row(z, q, n, 1.0f / sum, full_scale, weight);
  return maximum + logf(sum) - dot;
}
