#include "include/CEagleKernels.h"

#include <math.h>
#include "dispatch.h"

// x[i] = scale q[i], scale = max |x| / limit: symmetric, rounded to the nearest, ties to even.

EAGLE_INLINE float largest_magnitude(const float *x, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; i++) {
    float size = fabsf(x[i]);
    largest = size > largest ? size : largest;
  }
  return largest;
}

EAGLE_DISPATCHED
float eagle_quantize_int8(const float *x, int8_t *q, int64_t n) {
  float largest = largest_magnitude(x, n);
  float factor = largest > 0 ? 127.0f / largest : 0.0f;
  for (int64_t i = 0; i < n; i++) q[i] = (int8_t)__builtin_roundevenf(x[i] * factor);
  return largest / 127.0f;
}

EAGLE_DISPATCHED
float eagle_quantize_int16(const float *x, int16_t *q, int64_t n) {
  // The largest sum of products with 8-bit weights, 127 limit n, must stay below 2^31.
  float limit = (float)(16777216 / n);
  if (limit > 32767.0f) limit = 32767.0f;
  float largest = largest_magnitude(x, n);
  float factor = largest > 0 ? limit / largest : 0.0f;
  for (int64_t i = 0; i < n; i++) q[i] = (int16_t)__builtin_roundevenf(x[i] * factor);
  return largest / limit;
}
