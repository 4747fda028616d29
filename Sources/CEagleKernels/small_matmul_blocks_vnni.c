#include "small_matmul_blocks.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define NAME eagle_block_pass_vnni
#define ATTRIBUTES __attribute__((target("arch=x86-64-v4,avx512vnni")))
#define DOT(sum, a, b) _mm256_dpwssd_epi32(sum, a, b)
#include "small_matmul_blocks.inc.h"
#endif
