#include "small_matmul_blocks.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define NAME eagle_block_pass_avx2
#define ATTRIBUTES __attribute__((target("avx2,fma,f16c")))
#define DOT(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#include "small_matmul_blocks.inc.h"
#endif
