#ifndef EAGLE_OPENBLAS_SHIM_H
#define EAGLE_OPENBLAS_SHIM_H
#include <cblas.h>
#endif
