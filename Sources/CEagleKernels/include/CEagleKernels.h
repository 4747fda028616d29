// The vector loops that Swift cannot dispatch at run time. One function per op; every function works on plain
// row-major float arrays and is compiled for AVX-512, AVX2 and the baseline, chosen when the program is loaded; the
// small-M matmuls choose in each call, and eagle_gemm_bf16_* are for AVX512-BF16 alone.
//
// R rows · C columns · d head dimension.
#ifndef CEAGLEKERNELS_H
#define CEAGLEKERNELS_H

#include <stddef.h>
#include <stdint.h>
#include "eagle_small_matmul.h"
#include "eagle_threads.h"

// MARK: element-wise (elementwise.c)

void eagle_f32_to_bf16(const float *x, uint16_t *y, int64_t n);
void eagle_bf16_to_f32(const uint16_t *x, float *y, int64_t n);
void eagle_f16_to_f32(const uint16_t *x, float *y, int64_t n);
void eagle_add(const float *a, const float *b, float *y, int64_t n);
void eagle_accumulate(const float *x, float *y, int64_t n);
void eagle_scale(float *x, float factor, int64_t n);
/// y = silu(gate) * up.
void eagle_swiglu(const float *gate, const float *up, float *y, int64_t n);
/// dup = dy * silu(gate), and dy is overwritten by dgate = dy * up * silu'(gate).
void eagle_swiglu_backward(float *dy, const float *gate, const float *up, float *dup, int64_t n);
double eagle_sum_of_squares(const float *x, int64_t n);

// MARK: non-finite values (finite.c)

/// How many of n stored numbers have all bits of the mask `exponent` set, as Inf and NaN have; if any, *first gets the
/// index of the first. The mask is 0x7f80 for bfloat16, 0x7c00 for float16, 0x7f800000 for float32.
int64_t eagle_count_nonfinite16(const uint16_t *x, int64_t n, uint16_t exponent, int64_t *first);
int64_t eagle_count_nonfinite32(const uint32_t *x, int64_t n, uint32_t exponent, int64_t *first);

// MARK: norm (norm.c)

/// y[i] = x[i] * r * w[i], r = 1 / sqrt(mean(x^2) + eps), for each of `rows` rows; x and y have their own row strides.
void eagle_rms_norm(const float *x, int64_t x_stride, const float *w, float eps, float *y, int64_t y_stride,
                    float *r, int64_t rows, int64_t columns);
/// dx = (or +=) of eagle_rms_norm, for `rows` rows; x and dx are dense, dy has its own row stride.
void eagle_rms_norm_input_gradient(const float *dy, int64_t dy_stride, const float *x, const float *w, const float *r,
                                   float *dx, int accumulate, int64_t rows, int64_t columns);
/// dw += of eagle_rms_norm for some columns, over the rows in their order.
void eagle_rms_norm_weight_gradient(const float *dy, int64_t dy_stride, const float *x, int64_t x_stride,
                                    const float *r, float *dw, int64_t rows, int64_t columns);

// MARK: rotary position embedding (rotary.c)

/// Rotates `heads` heads of each row in place by cos and sin of the row's position ([rows][d/2] tables);
/// sign -1 is the inverse rotation, which is the gradient.
void eagle_rotary(float *x, int64_t row_stride, const float *cosine, const float *sine, float sign,
                  int64_t rows, int64_t heads, int64_t d);

// MARK: attention (attention.c)

/// One row's keys and values: a prefix of consecutive rows and a chain of single rows.
typedef struct {
  const float *prefix_k, *prefix_v;      // row t at prefix_k + t * stride
  int64_t prefix_count;
  const float *const *chain_k, *const *chain_v;
  int64_t chain_count;
  int64_t stride;
} eagle_attention_keys;

/// out = sum_t p_t v_t, p = softmax(scale * q . k_t) over prefix and chain, for `rows` rows of q and out, [rows][heads * d], on all
/// threads: row r has keys[r], whose rows hold `kv_heads` heads side by side. Keys of the prefix and of the chain are added alike: a
/// row gives the same bits wherever the border lies, and a head of a row the same as it does alone. `scores` holds
/// eagle_attention_room floats for that many threads; more do not take part. The heads' log-sum-exp goes to lse, [rows][heads], when it
/// is not null.
void eagle_attention(const float *q, int64_t rows, int64_t heads, int64_t kv_heads, int64_t d,
                     const eagle_attention_keys *keys, float scale, float *scores, int64_t threads, float *out,
                     float *lse);
int64_t eagle_attention_room(int64_t rows, int64_t heads, int64_t kv_heads, const eagle_attention_keys *keys,
                             int64_t threads);

float eagle_dot(const float *a, const float *b, int64_t n);
/// y += factor * x.
void eagle_add_scaled(float *y, float factor, const float *x, int64_t n);

/// One row of a block of q . k: `keys` prefix keys, of which the first `prefix` are the row's own, then `chain` keys.
/// Overwrites it by exp(scale s - max), 0 for keys that are not the row's own, and returns 1 / sum.
float eagle_attention_softmax(float *scores, int64_t prefix, int64_t keys, int64_t chain, float scale, float *lse);
/// The same row without a chain, by its known log-sum-exp: probabilities.
void eagle_attention_probabilities(float *scores, int64_t prefix, int64_t keys, float scale, float lse);
/// Overwrites dp by the gradient of q . k: scale p (dp - delta), delta = dout . out.
void eagle_attention_score_gradient(const float *p, float *dp, int64_t n, float delta, float scale);
/// Adds one chain key's part to the gradients of query, key and value.
void eagle_attention_chain_backward(const float *dout, const float *q, float delta, float lse, float scale, int64_t d,
                                    const float *k, const float *v, float *dq, float *dk, float *dv);

// MARK: float32 products (gemm.c)

enum {
  EAGLE_GEMM_ROWS = 6,      // of C in registers
  EAGLE_GEMM_COLUMNS = 16,  // the same, and the width of a panel
  EAGLE_GEMM_DEPTH = 320,   // largest k of one block
};

/// Packs up to 16 columns of B [k, n] for eagle_gemm_block: panel[p][j], columns beyond n are 0. Either stride is 1.
void eagle_gemm_pack_f32(const float *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                         float *panel);
void eagle_gemm_pack_bf16(const uint16_t *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                          float *panel);
/// Packs m rows of A [m, k] for eagle_gemm_block: panels of 6 rows, [k][6] each, rows beyond m are 0. Either stride is 1.
void eagle_gemm_pack_rows(const float *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                          float *block);
/// C[m, n] = (or +=) A[m, k] B[k, n], both as packed panels one after the other, k <= EAGLE_GEMM_DEPTH.
void eagle_gemm_block(const float *a, const float *b, int64_t m, int64_t n, int64_t k, float *c, int64_t ldc,
                      int accumulate);

// MARK: bfloat16 products (gemm_bf16.c), for processors with AVX512-BF16 alone

enum {
  EAGLE_GEMM_BF16_ROWS = 12,
  EAGLE_GEMM_BF16_COLUMNS = 32,
  EAGLE_GEMM_BF16_DEPTH = 576,
};

/// Packs up to 32 columns of B [k, n] for eagle_gemm_bf16_block: panel[p][j] holds b[2p, j] in its low half and b[2p + 1, j] in
/// its high one, 0 beyond n and k. Either stride is 1.
void eagle_gemm_bf16_pack_columns(const uint16_t *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                                  uint32_t *panel);
/// Packs m rows of A [m, k] for eagle_gemm_bf16_block: panels of 12 rows, [ceil(k/2)][12] such words each, and may write to four
/// words behind them. Either stride is 1.
void eagle_gemm_bf16_pack_rows(const uint16_t *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                               uint32_t *block);
/// The same for float32 numbers, which are rounded as they are packed.
void eagle_gemm_bf16_pack_columns_f32(const float *b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
                                      uint32_t *panel);
void eagle_gemm_bf16_pack_rows_f32(const float *a, int64_t row_stride, int64_t column_stride, int64_t m, int64_t k,
                                   uint32_t *block);
/// C[m, n] = (or +=) A[m, k] B[k, n], both as packed panels one after the other, C float32.
void eagle_gemm_bf16_block(const uint32_t *a, const uint32_t *b, int64_t m, int64_t n, int64_t k, float *c, int64_t ldc,
                           int accumulate);

// MARK: quantization (quantize.c)

/// q = x / scale rounded to [-127, 127]; returns the scale, 0 when all of x is 0.
float eagle_quantize_int8(const float *x, int8_t *q, int64_t n);
/// q = x / scale rounded to as many of 16 bits as leave sums of n products with 8-bit weights below 2^31.
float eagle_quantize_int16(const float *x, int16_t *q, int64_t n);

// MARK: softmax (softmax.c)

int64_t eagle_argmax(const float *x, int64_t n);
/// Overwrites x by exp(x - max) and returns their sum; the maximum goes to *maximum.
float eagle_exp_row(float *x, int64_t n, float *maximum);

/// Overwrites x by softmax(x) and returns its log-sum-exp.
float eagle_softmax_row(float *x, int64_t n);

/// One trained row of the objective: returns the cross-entropy of softmax(z) against the distribution q, overwrites the
/// logits z by weight * (softmax(z) - q), and puts sum min(full_scale * q, softmax(z)) into *overlap.
float eagle_cross_entropy_row(float *z, const float *q, int64_t n, float weight, float full_scale, float *overlap);

/// The same for a loss that rewards the acceptance a = sum min(full_scale * q, softmax(z)), arXiv 2602.23881: with a
/// negative decay -log a, otherwise share * CE + (1 - share) * (1 - a) with share = exp(-decay * a) taken as a constant.
float eagle_acceptance_loss_row(float *z, const float *q, int64_t n, float weight, float full_scale, float decay,
                                float *overlap);

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
