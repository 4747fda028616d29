// The door to oneDNN: fp32 products by dnnl_sgemm, bf16 products by the matmul primitive, for oneDNN 2.x and 3.x.
#ifndef EAGLE_ONEDNN_SHIM_H
#define EAGLE_ONEDNN_SHIM_H

#include <dnnl.h>
#include <dnnl_version.h>

/// C[m,n] = A[m,k] B[k,n] + beta C, row-major float32; 'T' takes an operand transposed.
static inline dnnl_status_t eagle_dnnl_sgemm(char transa, char transb, long m, long n, long k, const float *a, long lda,
                                             const float *b, long ldb, float beta, float *c, long ldc) {
  return dnnl_sgemm(transa, transb, m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
}

/// C[m,n] (fp32, leading dimension ldc) = A[m,k] B[k,n] + (accumulate ? C : 0); A and B are bfloat16, given by row and
/// column strides in elements, so that a transposed operand is a pair of swapped strides.
static inline dnnl_status_t eagle_dnnl_matmul_bf16(
    dnnl_engine_t engine, dnnl_stream_t stream, long m, long n, long k,
    const void *a, long a_row, long a_column,
    const void *b, long b_row, long b_column,
    float *c, long ldc, int accumulate) {
  dnnl_dims_t a_dims = {m, k}, a_strides = {a_row, a_column};
  dnnl_dims_t b_dims = {k, n}, b_strides = {b_row, b_column};
  dnnl_dims_t c_dims = {m, n}, c_strides = {ldc, 1};
  dnnl_primitive_attr_t attributes = 0;
  dnnl_post_ops_t post_ops = 0;
  dnnl_primitive_desc_t description = 0;
  dnnl_primitive_t primitive = 0;
  dnnl_memory_t a_memory = 0, b_memory = 0, c_memory = 0;
  dnnl_status_t status = dnnl_primitive_attr_create(&attributes);
  if (status == dnnl_success && accumulate) {
    status = dnnl_post_ops_create(&post_ops);
#if DNNL_VERSION_MAJOR >= 3
    if (status == dnnl_success) status = dnnl_post_ops_append_sum(post_ops, 1.0f, 0, dnnl_data_type_undef);
#else
    if (status == dnnl_success) status = dnnl_post_ops_append_sum(post_ops, 1.0f);
#endif
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attributes, post_ops);
  }
#if DNNL_VERSION_MAJOR >= 3
  dnnl_memory_desc_t a_md = 0, b_md = 0, c_md = 0;
  if (status == dnnl_success) status = dnnl_memory_desc_create_with_strides(&a_md, 2, a_dims, dnnl_bf16, a_strides);
  if (status == dnnl_success) status = dnnl_memory_desc_create_with_strides(&b_md, 2, b_dims, dnnl_bf16, b_strides);
  if (status == dnnl_success) status = dnnl_memory_desc_create_with_strides(&c_md, 2, c_dims, dnnl_f32, c_strides);
  if (status == dnnl_success)
    status = dnnl_matmul_primitive_desc_create(&description, engine, a_md, b_md, 0, c_md, attributes);
  if (status == dnnl_success) status = dnnl_memory_create(&a_memory, a_md, engine, (void *)a);
  if (status == dnnl_success) status = dnnl_memory_create(&b_memory, b_md, engine, (void *)b);
  if (status == dnnl_success) status = dnnl_memory_create(&c_memory, c_md, engine, c);
#else
  dnnl_memory_desc_t a_md, b_md, c_md;
  dnnl_matmul_desc_t operation;
  if (status == dnnl_success) status = dnnl_memory_desc_init_by_strides(&a_md, 2, a_dims, dnnl_bf16, a_strides);
  if (status == dnnl_success) status = dnnl_memory_desc_init_by_strides(&b_md, 2, b_dims, dnnl_bf16, b_strides);
  if (status == dnnl_success) status = dnnl_memory_desc_init_by_strides(&c_md, 2, c_dims, dnnl_f32, c_strides);
  if (status == dnnl_success) status = dnnl_matmul_desc_init(&operation, &a_md, &b_md, 0, &c_md);
  if (status == dnnl_success) status = dnnl_primitive_desc_create(&description, &operation, attributes, engine, 0);
  if (status == dnnl_success) status = dnnl_memory_create(&a_memory, &a_md, engine, (void *)a);
  if (status == dnnl_success) status = dnnl_memory_create(&b_memory, &b_md, engine, (void *)b);
  if (status == dnnl_success) status = dnnl_memory_create(&c_memory, &c_md, engine, c);
#endif
  if (status == dnnl_success) status = dnnl_primitive_create(&primitive, description);
  if (status == dnnl_success) {
    dnnl_exec_arg_t arguments[3] = {
        {DNNL_ARG_SRC, a_memory}, {DNNL_ARG_WEIGHTS, b_memory}, {DNNL_ARG_DST, c_memory}};
    status = dnnl_primitive_execute(primitive, stream, 3, arguments);
    if (status == dnnl_success) status = dnnl_stream_wait(stream);
  }
  if (primitive) dnnl_primitive_destroy(primitive);
  if (description) dnnl_primitive_desc_destroy(description);
  if (a_memory) dnnl_memory_destroy(a_memory);
  if (b_memory) dnnl_memory_destroy(b_memory);
  if (c_memory) dnnl_memory_destroy(c_memory);
#if DNNL_VERSION_MAJOR >= 3
  if (a_md) dnnl_memory_desc_destroy(a_md);
  if (b_md) dnnl_memory_desc_destroy(b_md);
  if (c_md) dnnl_memory_desc_destroy(c_md);
#endif
  if (post_ops) dnnl_post_ops_destroy(post_ops);
  if (attributes) dnnl_primitive_attr_destroy(attributes);
  return status;
}

#endif
