#include "include/CEagleKernels.h"

#include "dispatch.h"

// A pair (a, b) of a head rotates by the angle of its row: (a cos - b sin, b cos + a sin).

EAGLE_DISPATCHED
static void rotate_halves(float *restrict low, float *restrict high, const float *c, const float *s, float sign,
                          int64_t pairs) {
  for (int64_t i = 0; i < pairs; i++) {
    float a = low[i], b = high[i];
    low[i] = a * c[i] - sign * s[i] * b;
    high[i] = b * c[i] + sign * s[i] * a;
  }
}

EAGLE_DISPATCHED
static void rotate_neighbours(float *x, const float *c, const float *s, float sign, int64_t pairs) {
  for (int64_t i = 0; i < pairs; i++) {
    float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * c[i] - sign * s[i] * b;
    x[2 * i + 1] = b * c[i] + sign * s[i] * a;
  }
}

void eagle_rotary(float *x, int64_t row_stride, const eagle_rotation *rotation, int64_t rows, int64_t heads,
                  int64_t d) {
  eagle_rotation r = *rotation;
  for (int64_t row = 0; row < rows; row++) {
    const float *c = r.cosine + row * r.pairs, *s = r.sine + row * r.pairs;
    for (int64_t head = 0; head < heads; head++) {
      float *start = x + row * row_stride + head * d;
      if (r.is_interleaved) rotate_neighbours(start, c, s, r.sign, r.pairs);
      else rotate_halves(start, start + r.pairs, c, s, r.sign, r.pairs);
    }
  }
}
