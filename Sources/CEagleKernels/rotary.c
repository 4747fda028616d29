#include "include/CEagleKernels.h"

#include "dispatch.h"

EAGLE_DISPATCHED
void eagle_rotary(float *x, int64_t row_stride, const float *cosine, const float *sine, float sign,
                  int64_t rows, int64_t heads, int64_t d) {
  // "Rotate half": the pair (x[i], x[i + d/2]) rotates by the angle position / theta^(2i/d).
  int64_t half = d / 2;
  for (int64_t row = 0; row < rows; row++) {
    const float *c = cosine + row * half, *s = sine + row * half;
    for (int64_t head = 0; head < heads; head++) {
      float *restrict low = x + row * row_stride + head * d, *restrict high = low + half;
      for (int64_t i = 0; i < half; i++) {
        float a = low[i], b = high[i];
        low[i] = a * c[i] - sign * s[i] * b;
        high[i] = b * c[i] + sign * s[i] * a;
      }
    }
  }
}
