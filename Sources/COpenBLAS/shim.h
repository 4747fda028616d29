#ifndef EAGLE_OPENBLAS_SHIM_H
#define EAGLE_OPENBLAS_SHIM_H
#include <cblas.h>

// LAPACK functions that OpenBLAS contains; LAPACK's own header is in another package. Matrices are column-major, every
// argument is a pointer.
void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);
void spotrs_(const char *uplo, const int *n, const int *nrhs, const float *a, const int *lda, float *b, const int *ldb,
             int *info);
void sgesdd_(const char *jobz, const int *m, const int *n, float *a, const int *lda, float *s, float *u, const int *ldu,
             float *vt, const int *ldvt, float *work, const int *lwork, int *iwork, int *info);
#endif
