// The vector loops that Swift cannot dispatch at run time. One function per op; every function works on plain
// row-major float arrays and is compiled for AVX-512, AVX2 and the baseline, chosen when the program is loaded.
//
// R rows · C columns · d head dimension.
#ifndef CEAGLEKERNELS_H
#define CEAGLEKERNELS_H

#include <stddef.h>
#include <stdint.h>

// MARK: threads (parallel.c)

typedef void (*eagle_task)(void *context, int64_t begin, int64_t end);
/// Runs task over [0, count) in pieces of at least `grain`, on the libgomp pool that oneDNN and OpenBLAS use too.
/// With `dynamic`, pieces of `grain` are handed out as threads become free; otherwise each thread gets one piece.
void eagle_parallel_for(int64_t count, int64_t grain, int dynamic, eagle_task task, void *context);
int eagle_thread_count(void);
void eagle_set_thread_count(int threads);

// MARK: processor (parallel.c)

int eagle_cpu_has_avx2(void);
int eagle_cpu_has_avx512(void);
int eagle_cpu_has_avx512_bf16(void);
int eagle_cpu_has_amx_bf16(void);

// MARK: element-wise (elementwise.c)

void eagle_f32_to_bf16(const float *x, uint16_t *y, int64_t n);
void eagle_bf16_to_f32(const uint16_t *x, float *y, int64_t n);
void eagle_f16_to_f32(const uint16_t *x, float *y, int64_t n);
void eagle_add(const float *a, const float *b, float *y, int64_t n);
void eagle_accumulate(const float *x, float *y, int64_t n);
void eagle_scale(float *x, float factor, int64_t n);
/// y = silu(gate) * up.
void eagle_swiglu(const float *gate, const float *up, float *y, int64_t n);
/// dgate += dy * up * silu'(gate), dup += dy * silu(gate).
void eagle_swiglu_backward(const float *dy, const float *gate, const float *up, float *dgate, float *dup, int64_t n);
double eagle_sum_of_squares(const float *x, int64_t n);

// MARK: norm (norm.c)

/// y[i] = x[i] * r * w[i], r = 1 / sqrt(mean(x^2) + eps), for each of `rows` rows; x and y have their own row strides.
void eagle_rms_norm(const float *x, int64_t x_stride, const float *w, float eps, float *y, int64_t y_stride,
                    float *r, int64_t rows, int64_t columns);
/// dx += and dw += of eagle_rms_norm, for `rows` rows.
void eagle_rms_norm_backward(const float *dy, int64_t dy_stride, const float *x, const float *w, const float *r,
                             float *dx, float *dw, int64_t rows, int64_t columns);

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

/// out[h] = sum_t p_t v_t, p = softmax(scale * q[h] . k_t) over prefix and chain, for the heads [head, head + heads)
/// that share the kv head whose columns start at kv_offset. `scores` holds prefix_count + chain_count floats.
/// Writes log-sum-exp per head to lse when it is not null.
void eagle_attention(const float *q, int64_t heads, int64_t d, int64_t kv_offset, const eagle_attention_keys *keys,
                     float scale, float *scores, float *out, float *lse);

typedef struct {
  float *prefix_dk, *prefix_dv;
  float *const *chain_dk, *const *chain_dv;
} eagle_attention_gradients;

/// Adds the gradients of eagle_attention to dq, and to the key and value gradients of every attended row.
void eagle_attention_backward(const float *dout, const float *out, const float *q, const float *lse, int64_t heads,
                              int64_t d, int64_t kv_offset, const eagle_attention_keys *keys, float scale,
                              float *scores, float *dq, const eagle_attention_gradients *gradients);

// MARK: few-row products (fewrows.c)

/// y[m][n] = sum_k x[m][k] w[n][k] (+ bias[n]) for n in [n_begin, n_end). The order of additions of one row does not
/// depend on how many rows are computed with it.
void eagle_few_rows_bf16(const float *x, int64_t rows, int64_t k, const uint16_t *w, const float *bias, float *y,
                         int64_t y_stride, int64_t n_begin, int64_t n_end);
void eagle_few_rows_f32(const float *x, int64_t rows, int64_t k, const float *w, const float *bias, float *y,
                        int64_t y_stride, int64_t n_begin, int64_t n_end);

// MARK: softmax (softmax.c)

int64_t eagle_argmax(const float *x, int64_t n);
/// Overwrites x by exp(x - max) and returns their sum; the maximum goes to *maximum.
float eagle_exp_row(float *x, int64_t n, float *maximum);

/// Overwrites x by softmax(x) and returns its log-sum-exp.
float eagle_softmax_row(float *x, int64_t n);

/// One trained row of the objective: returns the cross-entropy of softmax(z) against the distribution q, overwrites the
/// logits z by weight * (softmax(z) - q), and puts sum min(full_scale * q, softmax(z)) into *overlap.
float eagle_cross_entropy_row(float *z, const float *q, int64_t n, float weight, float full_scale, float *overlap);

// MARK: optimiser (optimizer.c)

typedef struct {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  float rest1, rest2;              // 1 - beta, rounded once
  float correction1, correction2;  // 1 - beta^step
  float gradient_scale;
} eagle_adamw;
void eagle_adamw_step(const eagle_adamw *settings, float *w, const float *g, float *m, float *v, int64_t n);

#endif
