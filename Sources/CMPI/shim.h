// MPI for Swift: its handles are pointers in one library and integers in another, and its predefined handles are macros
// with casts, which Swift cannot import. So each handle travels in a struct and each call has one wrapper here.
// Once ranks are watched, no call blocks for long: collectives return a request, which `eagle_mpi_test` tests.
#ifndef EAGLE_CMPI_SHIM_H
#define EAGLE_CMPI_SHIM_H

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { MPI_Comm handle; } eagle_mpi_comm;
typedef struct { MPI_Request handle; } eagle_mpi_request;
typedef struct { MPI_Win handle; } eagle_mpi_window;

typedef enum { eagle_mpi_bytes, eagle_mpi_float, eagle_mpi_double, eagle_mpi_int64 } eagle_mpi_type;

static inline MPI_Datatype eagle_mpi_datatype(eagle_mpi_type type) {
  switch (type) {
    case eagle_mpi_float: return MPI_FLOAT;
    case eagle_mpi_double: return MPI_DOUBLE;
    case eagle_mpi_int64: return MPI_INT64_T;
    default: return MPI_BYTE;
  }
}

// Start and end

/// Starts MPI for calls from the calling thread alone.
static inline int eagle_mpi_start(void) {
  int provided = 0;
  return MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
}

static inline int eagle_mpi_finish(void) { return MPI_Finalize(); }
static inline void eagle_mpi_abort(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

static inline int eagle_mpi_error_text(int status, char *text, int *length) {
  return MPI_Error_string(status, text, length);
}

/// Name and version of the library; at least MPI_MAX_LIBRARY_VERSION_STRING characters. Needs no start.
static inline int eagle_mpi_library(char *text, int *length) { return MPI_Get_library_version(text, length); }

// Communicators

/// The world, with errors that come back as statuses.
static inline int eagle_mpi_world(eagle_mpi_comm *world) {
  world->handle = MPI_COMM_WORLD;
  return MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}

/// The same ranks with messages of their own. Collective.
static inline int eagle_mpi_duplicate(eagle_mpi_comm comm, eagle_mpi_comm *copy) {
  const int status = MPI_Comm_dup(comm.handle, &copy->handle);
  return status == MPI_SUCCESS ? MPI_Comm_set_errhandler(copy->handle, MPI_ERRORS_RETURN) : status;
}

/// The ranks of the same color, in the order of their keys, with messages of their own. Collective.
static inline int eagle_mpi_split(eagle_mpi_comm comm, int color, int key, eagle_mpi_comm *part) {
  const int status = MPI_Comm_split(comm.handle, color, key, &part->handle);
  return status == MPI_SUCCESS ? MPI_Comm_set_errhandler(part->handle, MPI_ERRORS_RETURN) : status;
}

/// Frees a communicator. Collective.
static inline int eagle_mpi_comm_free(eagle_mpi_comm *comm) { return MPI_Comm_free(&comm->handle); }

static inline int eagle_mpi_place(eagle_mpi_comm comm, int *rank, int *size) {
  const int status = MPI_Comm_rank(comm.handle, rank);
  return status == MPI_SUCCESS ? MPI_Comm_size(comm.handle, size) : status;
}

/// The smallest rank of those that can share memory with this one: the same number on all ranks of a node. Collective.
static inline int eagle_mpi_node(eagle_mpi_comm comm, int rank, int *leader) {
  MPI_Comm node;
  int status = MPI_Comm_split_type(comm.handle, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node);
  if (status != MPI_SUCCESS) return status;
  *leader = rank;
  status = MPI_Allreduce(MPI_IN_PLACE, leader, 1, MPI_INT, MPI_MIN, node);
  MPI_Comm_free(&node);
  return status;
}

// Requests

/// Whether the request is complete; a complete one stays so.
static inline int eagle_mpi_test(eagle_mpi_request *request, int *done) {
  return MPI_Test(&request->handle, done, MPI_STATUS_IGNORE);
}

/// Cancels a request that no rank will answer.
static inline void eagle_mpi_cancel(eagle_mpi_request *request) {
  if (request->handle == MPI_REQUEST_NULL) return;
  MPI_Cancel(&request->handle);
  MPI_Request_free(&request->handle);
}

/// Lets the library progress what other ranks want from this one.
static inline int eagle_mpi_poke(eagle_mpi_comm comm) {
  int flag = 0;
  return MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm.handle, &flag, MPI_STATUS_IGNORE);
}

static inline int eagle_mpi_send(
    const void *bytes, int count, int to, int tag, eagle_mpi_comm comm, eagle_mpi_request *request) {
  return MPI_Isend(bytes, count, MPI_BYTE, to, tag, comm.handle, &request->handle);
}

static inline int eagle_mpi_receive(
    void *bytes, int count, int from, int tag, eagle_mpi_comm comm, eagle_mpi_request *request) {
  return MPI_Irecv(bytes, count, MPI_BYTE, from, tag, comm.handle, &request->handle);
}

static inline int eagle_mpi_sum(
    void *values, int count, eagle_mpi_type type, eagle_mpi_comm comm, eagle_mpi_request *request) {
  return MPI_Iallreduce(
      MPI_IN_PLACE, values, count, eagle_mpi_datatype(type), MPI_SUM, comm.handle, &request->handle);
}

static inline int eagle_mpi_broadcast(
    void *bytes, int count, int root, eagle_mpi_comm comm, eagle_mpi_request *request) {
  return MPI_Ibcast(bytes, count, MPI_BYTE, root, comm.handle, &request->handle);
}

/// Every rank's `count` bytes, one after the other in `all`.
static inline int eagle_mpi_gather(
    const void *mine, void *all, int count, eagle_mpi_comm comm, eagle_mpi_request *request) {
  return MPI_Iallgather(mine, count, MPI_BYTE, all, count, MPI_BYTE, comm.handle, &request->handle);
}

/// Sends every rank's part of `all` to all ranks; this rank's own is already in its place.
static inline int eagle_mpi_gather_parts(
    void *all, const int *counts, const int *starts, eagle_mpi_comm comm, eagle_mpi_request *request) {
  return MPI_Iallgatherv(
      MPI_IN_PLACE, 0, MPI_BYTE, all, counts, starts, MPI_BYTE, comm.handle, &request->handle);
}

/// Sends part r of `out` to rank r, and receives the parts for this rank in `in`.
static inline int eagle_mpi_exchange_parts(
    const void *out, const int *out_counts, const int *out_starts, void *in, const int *in_counts,
    const int *in_starts, eagle_mpi_comm comm, eagle_mpi_request *request) {
  return MPI_Ialltoallv(
      out, out_counts, out_starts, MPI_BYTE, in, in_counts, in_starts, MPI_BYTE, comm.handle, &request->handle);
}

static inline int eagle_mpi_barrier(eagle_mpi_comm comm, eagle_mpi_request *request) {
  return MPI_Ibarrier(comm.handle, &request->handle);
}

// A number on rank 0 that all ranks can add to

/// Collective.
static inline int eagle_mpi_window_make(eagle_mpi_comm comm, int rank, eagle_mpi_window *window) {
  int64_t *number = NULL;
  const MPI_Aint bytes = rank == 0 ? (MPI_Aint)sizeof(int64_t) : 0;
  int status = MPI_Win_allocate(bytes, sizeof(int64_t), MPI_INFO_NULL, comm.handle, &number, &window->handle);
  if (status != MPI_SUCCESS) return status;
  MPI_Win_set_errhandler(window->handle, MPI_ERRORS_RETURN);
  status = MPI_Win_lock_all(0, window->handle);
  if (status != MPI_SUCCESS || rank != 0) return status;
  *number = 0;
  return MPI_Win_sync(window->handle);
}

/// Adds `*value` to the number and puts what it was before into `*before`.
static inline int eagle_mpi_fetch_and_add(
    const int64_t *value, int64_t *before, eagle_mpi_window window, eagle_mpi_request *request) {
  return MPI_Rget_accumulate(
      value, 1, MPI_INT64_T, before, 1, MPI_INT64_T, 0, 0, 1, MPI_INT64_T, MPI_SUM, window.handle, &request->handle);
}

/// Collective.
static inline int eagle_mpi_window_free(eagle_mpi_window *window) {
  const int status = MPI_Win_unlock_all(window->handle);
  return status == MPI_SUCCESS ? MPI_Win_free(&window->handle) : status;
}

#endif
