#include "include/CEagleKernels.h"

#include <math.h>
#include "dispatch.h"

EAGLE_DISPATCHED
void eagle_adamw_step(const eagle_adamw *settings, float *restrict w, const float *restrict g, float *restrict m,
                      float *restrict v, const float *restrict rates, int64_t n) {
  // m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr (r m / c1 / (sqrt(v / c2) + eps) + decay w)
  // No contraction: a vector's multiply-adds and those of single elements would be fused in different places, and the
  // bits would depend on how the weights are partitioned among threads.
#pragma clang fp contract(off)
  const eagle_adamw s = *settings;
  const float step = s.learning_rate / s.correction1, root = 1.0f / sqrtf(s.correction2);
  for (int64_t i = 0; i < n; i++) {
    float gradient = g[i] * s.gradient_scale;
    m[i] = s.beta1 * m[i] + s.rest1 * gradient;
    v[i] = s.beta2 * v[i] + s.rest2 * gradient * gradient;
    float rate = rates ? step * rates[i] : step;
    w[i] = w[i] * (1.0f - s.learning_rate * s.weight_decay) - rate * m[i] / (sqrtf(v[i]) * root + s.epsilon);
  }
}
