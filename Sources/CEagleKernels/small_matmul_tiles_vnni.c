#include "small_matmul_tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define NAME eagle_tile_pass_vnni
#define ATTRIBUTES __attribute__((target("arch=x86-64-v4,avx512vnni"))) EAGLE_WIDE_VECTORS
#define HAS_VNNI 1
#define TILES 2
#include "small_matmul_tiles.inc.h"
#endif
