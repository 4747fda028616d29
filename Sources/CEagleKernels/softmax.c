#include "include/CEagleKernels.h"

#include <math.h>
#include "dispatch.h"
#include "vector.h"

EAGLE_DISPATCHED
static float row_maximum(const float *x, int64_t n) { return maximum_of(x, n, x[0]); }

EAGLE_DISPATCHED
static int64_t first_equal(const float *x, int64_t n, float value) {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    int found = 0;
    for (int j = 0; j < 64; j++) found |= x[i + j] == value;
    if (found) break;
  }
  while (i < n && x[i] != value) i++;
  return i < n ? i : 0;
}

int64_t eagle_argmax(const float *x, int64_t n) {
  // The first of equal maxima of finite elements, as in NumPy and PyTorch.
  return first_equal(x, n, row_maximum(x, n));
}

EAGLE_DISPATCHED
static float exp_in_place(float *x, int64_t n, float shift) { return exponentiate(x, n, 1, shift, 0); }

float eagle_exp_row(float *x, int64_t n, float *maximum) {
  *maximum = row_maximum(x, n);
  return exp_in_place(x, n, *maximum);
}

EAGLE_DISPATCHED
static float dot_row(const float *a, const float *b, int64_t n) { return dot(a, b, n); }

float eagle_softmax_row(float *x, int64_t n) {
  float maximum;
  float sum = eagle_exp_row(x, n, &maximum);
  eagle_scale(x, 1.0f / sum, n);
  return maximum + logf(sum);
}

// With d = softmax(z), p = full_scale * q the target's own probabilities and m_i = [d_i < p_i]:
//   acceptance a = sum_i min(p_i, d_i);  da/dz_j = d_j (m_j - s),  s = sum_i m_i d_i
typedef struct {
  float acceptance, below;
} acceptance_sums;

EAGLE_DISPATCHED
static acceptance_sums acceptance_row(const float *restrict e, const float *restrict q, int64_t n, float draft_scale,
                                      float full_scale) {
  EAGLE_REASSOCIATE
  float acceptance = 0, below = 0;
  for (int64_t i = 0; i < n; i++) {
    float draft = e[i] * draft_scale, full = q[i] * full_scale;
    acceptance += full < draft ? full : draft;  // in this order a NaN draft stays one
    below += draft < full ? draft : 0;
  }
  return (acceptance_sums){acceptance, below};
}

EAGLE_DISPATCHED
static void mixed_gradient_row(float *restrict z, const float *restrict q, int64_t n, float draft_scale,
                               float full_scale, float below, float entropy_weight, float acceptance_weight) {
  // entropy_weight * dCE/dz - acceptance_weight * da/dz
  for (int64_t i = 0; i < n; i++) {
    float draft = z[i] * draft_scale, full = q[i] * full_scale;
    float slope = draft < full ? below - 1 : below;
    z[i] = entropy_weight * (draft - q[i]) + acceptance_weight * draft * slope;
  }
}

float eagle_acceptance_loss_row(float *z, const float *q, int64_t n, float weight, float full_scale,
                                eagle_acceptance_loss loss, float parameter, float *overlap) {
  float maximum;
  float expected = dot_row(q, z, n);
  float sum = eagle_exp_row(z, n, &maximum);
  acceptance_sums sums = acceptance_row(z, q, n, 1.0f / sum, full_scale);
  float acceptance = sums.acceptance < 1e-30f ? 1e-30f : sums.acceptance;
  float entropy_part = loss == EAGLE_DECAYING_MIX ? expf(-parameter * acceptance) : parameter;
  if (loss == EAGLE_LOG_ACCEPTANCE) entropy_part = 0;
  float slope = loss == EAGLE_LOG_ACCEPTANCE ? 1 / acceptance : 1 - entropy_part;
  mixed_gradient_row(z, q, n, 1.0f / sum, full_scale, sums.below, weight * entropy_part, weight * slope);
  *overlap = sums.acceptance;
  if (loss == EAGLE_LOG_ACCEPTANCE) return -logf(acceptance);
  return entropy_part * (maximum + logf(sum) - expected) + (1 - entropy_part) * (1 - acceptance);
}

EAGLE_DISPATCHED
static void labelled_gradient_row(float *restrict z, const float *restrict q, int64_t n, float draft_scale, float below,
                                  float entropy_weight, float distance_weight) {
  for (int64_t i = 0; i < n; i++) {
    float draft = z[i] * draft_scale;
    float slope = draft < q[i] ? below - 1 : below;
    z[i] = entropy_weight * draft + distance_weight * draft * slope;
  }
}

float eagle_labelled_loss_row(float *z, const float *q, int64_t n, eagle_labelled_loss loss, float weight,
                              float full_scale, float *overlap) {
  // d = softmax(z);  |d - q| = 2 (1 - sum_i min(q_i, d_i));  dCE/dz_j = d_j - [j = label]
  float maximum;
  float entropy = loss.label < 0 ? 0 : loss.entropy, of_label = loss.label < 0 ? 0 : z[loss.label];
  float sum = eagle_exp_row(z, n, &maximum);
  acceptance_sums sums = acceptance_row(z, q, n, 1.0f / sum, 1);
  *overlap = full_scale == 1 ? sums.acceptance : acceptance_row(z, q, n, 1.0f / sum, full_scale).acceptance;
  labelled_gradient_row(z, q, n, 1.0f / sum, sums.below, weight * entropy, 2 * weight * loss.distance);
  if (loss.label >= 0) z[loss.label] -= weight * entropy;
  return entropy * (maximum + logf(sum) - of_label) + 2 * loss.distance * (1 - sums.acceptance);
}

EAGLE_DISPATCHED
static float gradient_row(float *restrict z, const float *restrict q, int64_t n, float draft_scale, float full_scale,
                          float weight) {
  EAGLE_REASSOCIATE
  float overlap = 0;
  for (int64_t i = 0; i < n; i++) {
    float draft = z[i] * draft_scale, full = q[i] * full_scale;
    overlap += full < draft ? full : draft;
    z[i] = weight * (draft - q[i]);
  }
  return overlap;
}

float eagle_cross_entropy_row(float *z, const float *q, int64_t n, float weight, float full_scale, float *overlap) {
  // CE(q, softmax(z)) = lse(z) - sum_i q_i z_i;  dCE/dz = softmax(z) - q
  float maximum;
  float expected = dot_row(q, z, n);
  float sum = eagle_exp_row(z, n, &maximum);
  *overlap = gradient_row(z, q, n, 1.0f / sum, full_scale, weight);
  return maximum + logf(sum) - expected;
}
