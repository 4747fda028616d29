// MPI's predefined handles are macros with casts, which Swift cannot import: one accessor each.
#ifndef EAGLE_CMPI_SHIM_H
#define EAGLE_CMPI_SHIM_H

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

static inline MPI_Comm eagle_mpi_comm_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Info eagle_mpi_info_null(void) { return MPI_INFO_NULL; }
static inline MPI_Errhandler eagle_mpi_errors_return(void) { return MPI_ERRORS_RETURN; }

static inline MPI_Datatype eagle_mpi_float(void) { return MPI_FLOAT; }
static inline MPI_Datatype eagle_mpi_double(void) { return MPI_DOUBLE; }
static inline MPI_Datatype eagle_mpi_int64(void) { return MPI_INT64_T; }
static inline MPI_Datatype eagle_mpi_byte(void) { return MPI_BYTE; }
static inline MPI_Op eagle_mpi_sum(void) { return MPI_SUM; }

static inline int eagle_mpi_thread_serialized(void) { return MPI_THREAD_SERIALIZED; }
static inline int eagle_mpi_comm_type_shared(void) { return MPI_COMM_TYPE_SHARED; }
static inline void *eagle_mpi_in_place(void) { return MPI_IN_PLACE; }

#endif
