#include "include/CEagleKernels.h"

#include <math.h>
#include "vector.h"

// y = x r w, r = (mean(x^2) + eps)^(-1/2)

EAGLE_DISPATCHED
void eagle_rms_norm(const float *x, int64_t x_stride, const float *w, float eps, float *y, int64_t y_stride,
                    float *r, int64_t rows, int64_t columns) {
  for (int64_t row = 0; row < rows; row++) {
    const float *xi = x + row * x_stride;
    float *yi = y + row * y_stride;
    float scale = 1.0f / sqrtf(dot(xi, xi, columns) / (float)columns + eps);
    if (r) r[row] = scale;
    // y may be x, element by element.
#pragma clang loop vectorize(assume_safety)
    for (int64_t i = 0; i < columns; i++) yi[i] = xi[i] * scale * w[i];
  }
}

// dr/dx_i = -r^3 x_i / C
// dx_i = r w_i dy_i - x_i r^3 / C * sum_j dy_j w_j x_j;  dw_i = dy_i x_i r

EAGLE_DISPATCHED
void eagle_rms_norm_input_gradient(const eagle_rms_norm_backward *norm, const float *w, float *dx, int accumulate) {
  EAGLE_REASSOCIATE
  const float *r = norm->r;
  int64_t columns = norm->columns;
  for (int64_t row = 0; row < norm->rows; row++) {
    const float *dyi = norm->dy + row * norm->dy_stride, *xi = norm->x + row * norm->x_stride;
    float *dxi = dx + row * columns;
    float scale = r[row], sum = 0;
    for (int64_t i = 0; i < columns; i++) sum += dyi[i] * w[i] * xi[i];
    float factor = scale * scale * scale * sum / (float)columns;
    if (accumulate)
      for (int64_t i = 0; i < columns; i++) dxi[i] += scale * w[i] * dyi[i] - xi[i] * factor;
    else
      for (int64_t i = 0; i < columns; i++) dxi[i] = scale * w[i] * dyi[i] - xi[i] * factor;
  }
}

EAGLE_DISPATCHED
void eagle_rms_norm_weight_gradient(const eagle_rms_norm_backward *norm, float *dw) {
  int64_t columns = norm->columns;
  for (int64_t row = 0; row < norm->rows; row++) {
    const float *dyi = norm->dy + row * norm->dy_stride, *xi = norm->x + row * norm->x_stride;
    float scale = norm->r[row];
    for (int64_t i = 0; i < columns; i++) dw[i] += dyi[i] * xi[i] * scale;
  }
}
