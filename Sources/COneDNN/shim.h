// The interface to oneDNN: GEMMs of bf16 by its matmul primitive, for oneDNN 2.x and 3.x.
#ifndef EAGLE_ONEDNN_SHIM_H
#define EAGLE_ONEDNN_SHIM_H

#include <dnnl.h>
#include <dnnl_version.h>

/// A matrix in memory; the strides are in elements, so that a transposed operand is a pair of swapped strides.
typedef struct {
  void *data;
  long rows, columns;
  long row_stride, column_stride;
} eagle_dnnl_matrix;

/// An operand as oneDNN sees it.
typedef struct {
  dnnl_memory_desc_t layout;
  dnnl_memory_t memory;
} eagle_dnnl_operand;

/// The objects of one matmul; fields that are not made yet are empty. eagle_dnnl_destroy frees them in any state.
typedef struct {
  eagle_dnnl_operand a, b, c;
  dnnl_post_ops_t post_ops;
  dnnl_primitive_attr_t attributes;
  dnnl_primitive_desc_t description;
  dnnl_primitive_t primitive;
} eagle_dnnl_matmul;

static inline dnnl_status_t eagle_dnnl_make_operand(eagle_dnnl_operand *operand, const eagle_dnnl_matrix *m,
                                                    dnnl_data_type_t type, dnnl_engine_t engine) {
  dnnl_dims_t dims = {m->rows, m->columns}, strides = {m->row_stride, m->column_stride};
#if DNNL_VERSION_MAJOR >= 3
  dnnl_status_t status = dnnl_memory_desc_create_with_strides(&operand->layout, 2, dims, type, strides);
  if (status != dnnl_success) return status;
  return dnnl_memory_create(&operand->memory, operand->layout, engine, m->data);
#else
  dnnl_status_t status = dnnl_memory_desc_init_by_strides(&operand->layout, 2, dims, type, strides);
  if (status != dnnl_success) return status;
  return dnnl_memory_create(&operand->memory, &operand->layout, engine, m->data);
#endif
}

/// Default attributes, or those with the post-op that adds C.
static inline dnnl_status_t eagle_dnnl_make_attributes(eagle_dnnl_matmul *matmul, int accumulate) {
  dnnl_status_t status = dnnl_primitive_attr_create(&matmul->attributes);
  if (status != dnnl_success || !accumulate) return status;
  status = dnnl_post_ops_create(&matmul->post_ops);
  if (status != dnnl_success) return status;
#if DNNL_VERSION_MAJOR >= 3
  status = dnnl_post_ops_append_sum(matmul->post_ops, 1.0f, 0, dnnl_data_type_undef);
#else
  status = dnnl_post_ops_append_sum(matmul->post_ops, 1.0f);
#endif
  if (status != dnnl_success) return status;
  return dnnl_primitive_attr_set_post_ops(matmul->attributes, matmul->post_ops);
}

static inline dnnl_status_t eagle_dnnl_make_primitive(eagle_dnnl_matmul *m, dnnl_engine_t engine) {
#if DNNL_VERSION_MAJOR >= 3
  dnnl_status_t status = dnnl_matmul_primitive_desc_create(&m->description, engine, m->a.layout, m->b.layout, 0,
                                                           m->c.layout, m->attributes);
#else
  dnnl_matmul_desc_t operation;
  dnnl_status_t status = dnnl_matmul_desc_init(&operation, &m->a.layout, &m->b.layout, 0, &m->c.layout);
  if (status != dnnl_success) return status;
  status = dnnl_primitive_desc_create(&m->description, &operation, m->attributes, engine, 0);
#endif
  return status == dnnl_success ? dnnl_primitive_create(&m->primitive, m->description) : status;
}

static inline dnnl_status_t eagle_dnnl_run(const eagle_dnnl_matmul *m, dnnl_stream_t stream) {
  dnnl_exec_arg_t arguments[3] = {
      {DNNL_ARG_SRC, m->a.memory}, {DNNL_ARG_WEIGHTS, m->b.memory}, {DNNL_ARG_DST, m->c.memory}};
  dnnl_status_t status = dnnl_primitive_execute(m->primitive, stream, 3, arguments);
  return status == dnnl_success ? dnnl_stream_wait(stream) : status;
}

static inline void eagle_dnnl_destroy_operand(eagle_dnnl_operand *operand) {
  if (operand->memory) dnnl_memory_destroy(operand->memory);
#if DNNL_VERSION_MAJOR >= 3
  if (operand->layout) dnnl_memory_desc_destroy(operand->layout);
#endif
}

static inline void eagle_dnnl_destroy(eagle_dnnl_matmul *m) {
  if (m->primitive) dnnl_primitive_destroy(m->primitive);
  if (m->description) dnnl_primitive_desc_destroy(m->description);
  eagle_dnnl_destroy_operand(&m->a);
  eagle_dnnl_destroy_operand(&m->b);
  eagle_dnnl_destroy_operand(&m->c);
  if (m->post_ops) dnnl_post_ops_destroy(m->post_ops);
  if (m->attributes) dnnl_primitive_attr_destroy(m->attributes);
}

/// C (float32) = A B (bfloat16) + (accumulate ? C : 0).
static inline dnnl_status_t eagle_dnnl_matmul_bf16(dnnl_engine_t engine, dnnl_stream_t stream,
                                                   const eagle_dnnl_matrix *a, const eagle_dnnl_matrix *b,
                                                   const eagle_dnnl_matrix *c, int accumulate) {
  eagle_dnnl_matmul m = {0};
  dnnl_status_t status = eagle_dnnl_make_operand(&m.a, a, dnnl_bf16, engine);
  if (status == dnnl_success) status = eagle_dnnl_make_operand(&m.b, b, dnnl_bf16, engine);
  if (status == dnnl_success) status = eagle_dnnl_make_operand(&m.c, c, dnnl_f32, engine);
  if (status == dnnl_success) status = eagle_dnnl_make_attributes(&m, accumulate);
  if (status == dnnl_success) status = eagle_dnnl_make_primitive(&m, engine);
  if (status == dnnl_success) status = eagle_dnnl_run(&m, stream);
  eagle_dnnl_destroy(&m);
  return status;
}

#endif
