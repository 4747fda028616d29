// The loops that Swift cannot vectorise or dispatch at run time. One function per op; every function works on plain
// row-major arrays. Most are compiled for AVX-512, AVX2 and the baseline, chosen when the program is loaded; the
// small-M matmuls choose in each call, eagle_gemm_x16_* are for AVX-512 alone, and eagle_gemm_bf16_* for AVX512-BF16.
//
// R rows · C columns · d head dimension.
#ifndef CEAGLEKERNELS_H
#define CEAGLEKERNELS_H

#include "eagle_attention.h"
#include "eagle_blocks.h"
#include "eagle_gemm.h"
#include "eagle_rows.h"
#include "eagle_small_matmul.h"
#include "eagle_threads.h"

#endif
