#include "include/CEagleKernels.h"

#include <string.h>
#include "vector.h"

EAGLE_DISPATCHED
void eagle_f32_to_bf16(const float *restrict x, uint16_t *restrict y, int64_t n) {
  // Round to nearest, ties to even; a NaN keeps its sign and stays a NaN.
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    y[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16 | 0x40) : rounded);
  }
}

EAGLE_DISPATCHED
void eagle_bf16_to_f32(const uint16_t *restrict x, float *restrict y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = widen_bf16(x[i]);
}

EAGLE_DISPATCHED
void eagle_f16_to_f32(const uint16_t *restrict x, float *restrict y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = widen_f16(x[i]);
}

EAGLE_DISPATCHED
void eagle_add(const float *a, const float *b, float *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

EAGLE_DISPATCHED
void eagle_accumulate(const float *restrict x, float *restrict y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

EAGLE_DISPATCHED
void eagle_scale(float *x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

EAGLE_DISPATCHED
void eagle_swiglu(const float *restrict gate, const float *restrict up, float *restrict y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = gate[i] / (1.0f + eagle_expf(-gate[i])) * up[i];
}

EAGLE_DISPATCHED
static void gelu_gated(const float *restrict gate, const float *restrict up, float *restrict y, int64_t n) {
  // gelu(g) = g (1 + tanh u) / 2 = g sigmoid(2u), u = sqrt(2 / pi) (g + 0.044715 g^3)
  for (int64_t i = 0; i < n; i++) {
    float g = gate[i], u = 0.7978845608f * (g + 0.044715f * g * g * g);
    y[i] = g / (1.0f + eagle_expf(-2.0f * u)) * up[i];
  }
}

EAGLE_DISPATCHED
static void clipped_gated(float limit, const float *restrict gate, const float *restrict up, float *restrict y,
                          int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    // Compared in this order, a NaN stays one.
    float g = gate[i] > limit ? limit : gate[i], u = up[i] > limit ? limit : up[i];
    u = u < -limit ? -limit : u;
    y[i] = g / (1.0f + eagle_expf(-1.702f * g)) * (u + 1.0f);
  }
}

void eagle_gated(eagle_gate kind, float limit, const float *gate, const float *up, float *y, int64_t n) {
  switch (kind) {
    case EAGLE_SILU: return eagle_swiglu(gate, up, y, n);
    case EAGLE_GELU_TANH: return gelu_gated(gate, up, y, n);
    case EAGLE_CLIPPED_SILU: return clipped_gated(limit, gate, up, y, n);
  }
}

EAGLE_DISPATCHED
void eagle_softcap(float *x, float scale, float cap, int64_t n) {
  // tanh u = 1 - 2 / (1 + e^(2u))
  float factor = 2 * scale / cap;
  for (int64_t i = 0; i < n; i++) x[i] = cap * (1.0f - 2.0f / (1.0f + eagle_expf(factor * x[i])));
}

EAGLE_DISPATCHED
void eagle_swiglu_backward(float *restrict dy, const float *restrict gate, const float *restrict up,
                           float *restrict dup, int64_t n) {
  // silu(g) = g s, s = sigmoid(g)   so   silu'(g) = s (1 + g (1 - s))
  for (int64_t i = 0; i < n; i++) {
    float s = 1.0f / (1.0f + eagle_expf(-gate[i]));
    dup[i] = dy[i] * gate[i] * s;
    dy[i] = dy[i] * up[i] * s * (1.0f + gate[i] * (1.0f - s));
  }
}

EAGLE_DISPATCHED
double eagle_sum_of_squares(const float *x, int64_t n) {
  EAGLE_REASSOCIATE
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
  return sum;
}
