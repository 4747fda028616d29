#include "small_matmul_tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define NAME eagle_tile_pass_avx2
#define ATTRIBUTES __attribute__((target("avx2,fma,f16c")))
#define HAS_VNNI 0
#define TILES 1
#include "small_matmul_tiles.inc.h"
#endif
