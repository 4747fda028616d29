// Element-wise ops and ops on rows.
#ifndef EAGLE_ROWS_H
#define EAGLE_ROWS_H

#include <stdint.h>

// MARK: element-wise (elementwise.c)

void eagle_f32_to_bf16(const float *x, uint16_t *y, int64_t n);
void eagle_bf16_to_f32(const uint16_t *x, float *y, int64_t n);
void eagle_f16_to_f32(const uint16_t *x, float *y, int64_t n);
void eagle_add(const float *a, const float *b, float *y, int64_t n);
void eagle_accumulate(const float *x, float *y, int64_t n);
void eagle_scale(float *x, float factor, int64_t n);
/// y = silu(gate) * up.
void eagle_swiglu(const float *gate, const float *up, float *y, int64_t n);

/// The activation functions of gated feed-forward layers.
typedef enum {
  EAGLE_SILU,         // silu(gate) * up
  EAGLE_GELU_TANH,    // gelu(gate) * up, in the approximation by tanh
  EAGLE_CLIPPED_SILU  // g sigmoid(1.702 g) * (u + 1), g = min(gate, limit), u = up cut to [-limit, limit]
} eagle_gate;
/// y = the activation of a gate, combined with up; `limit` is for EAGLE_CLIPPED_SILU.
void eagle_gated(eagle_gate kind, float limit, const float *gate, const float *up, float *y, int64_t n);
/// x = cap * tanh(scale * x / cap).
void eagle_softcap(float *x, float scale, float cap, int64_t n);
/// dup = dy * silu(gate), and dy is overwritten by dgate = dy * up * silu'(gate).
void eagle_swiglu_backward(float *dy, const float *gate, const float *up, float *dup, int64_t n);
double eagle_sum_of_squares(const float *x, int64_t n);

// MARK: non-finite values (finite.c)

/// Counts the stored values, of n, that have all bits of the mask `exponent` set, as Inf and NaN have; if any, *first
/// gets the index of the first. The mask is 0x7f80 for bfloat16, 0x7c00 for float16, 0x7f800000 for float32.
int64_t eagle_count_nonfinite16(const uint16_t *x, int64_t n, uint16_t exponent, int64_t *first);
int64_t eagle_count_nonfinite32(const uint32_t *x, int64_t n, uint32_t exponent, int64_t *first);

// MARK: norm (norm.c)

/// y[i] = x[i] * r * w[i], r = 1 / sqrt(mean(x^2) + eps), for each of `rows` rows; x and y have their own row strides.
void eagle_rms_norm(const float *x, int64_t x_stride, const float *w, float eps, float *y, int64_t y_stride,
                    float *r, int64_t rows, int64_t columns);

/// What both gradients of eagle_rms_norm read: dy, x and r of `rows` rows.
typedef struct {
  const float *dy;
  int64_t dy_stride;
  const float *x;
  int64_t x_stride;
  const float *r;  // [rows]
  int64_t rows, columns;
} eagle_rms_norm_backward;
/// dx = (or +=) the gradient of eagle_rms_norm; dx is dense.
void eagle_rms_norm_input_gradient(const eagle_rms_norm_backward *norm, const float *w, float *dx, int accumulate);
/// dw += the gradient of eagle_rms_norm for some columns, over the rows in their order.
void eagle_rms_norm_weight_gradient(const eagle_rms_norm_backward *norm, float *dw);

// MARK: rotary position embedding (rotary.c)

/// Rotations of the first 2 * pairs elements of a head by the angles of some rows.
typedef struct {
  const float *cosine, *sine;  // [rows][pairs]
  int64_t pairs;
  int is_interleaved;  // pairs are neighbours (x[2i], x[2i + 1]), otherwise halves (x[i], x[i + pairs])
  float sign;          // -1 transposes the rotation, which is the gradient
} eagle_rotation;
/// Rotates `heads` heads of each row in place.
void eagle_rotary(float *x, int64_t row_stride, const eagle_rotation *rotation, int64_t rows, int64_t heads, int64_t d);

// MARK: softmax (softmax.c)

/// The index of the largest element; the first one of equals.
int64_t eagle_argmax(const float *x, int64_t n);
/// Overwrites x by exp(x - max) and returns their sum; the maximum goes to *maximum.
float eagle_exp_row(float *x, int64_t n, float *maximum);

/// Overwrites x by softmax(x) and returns its log-sum-exp.
float eagle_softmax_row(float *x, int64_t n);

/// One trained row of the objective: returns the cross-entropy of softmax(z) against the distribution q, overwrites the
/// logits z by weight * (softmax(z) - q), and puts sum min(full_scale * q, softmax(z)) into *overlap.
float eagle_cross_entropy_row(float *z, const float *q, int64_t n, float weight, float full_scale, float *overlap);

/// Losses that reward the acceptance a = sum min(full_scale * q, softmax(z)), which is 1 - the total variation.
typedef enum {
  EAGLE_LOG_ACCEPTANCE,  // -log a
  EAGLE_DECAYING_MIX,    // s * CE + (1 - s) * (1 - a), s = exp(-parameter * a) taken as a constant (arXiv 2602.23881)
  EAGLE_FIXED_MIX        // the same with s = parameter
} eagle_acceptance_loss;

/// The same for one of these losses.
float eagle_acceptance_loss_row(float *z, const float *q, int64_t n, float weight, float full_scale,
                                eagle_acceptance_loss loss, float parameter, float *overlap);

/// entropy * CE(label, softmax(z)) + distance * sum |softmax(z) - q|; a label below 0 is none.
typedef struct {
  int64_t label;
  float entropy, distance;
} eagle_labelled_loss;

/// The same for this loss.
float eagle_labelled_loss_row(float *z, const float *q, int64_t n, eagle_labelled_loss loss, float weight,
                              float full_scale, float *overlap);

// MARK: optimiser (optimizer.c)

typedef struct {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  float rest1, rest2;              // 1 - beta, rounded once
  float correction1, correction2;  // 1 - beta^step
  float gradient_scale;
} eagle_adamw;
/// `rates` multiply the learning rate of each weight; NULL for 1.
void eagle_adamw_step(const eagle_adamw *settings, float *w, const float *g, float *m, float *v, const float *rates,
                      int64_t n);

#endif
