#include "small_matmul.h"

// Weights of float32, vectors of eight lanes: AVX2, and processors without it.
#define LANES 8
#define WEIGHTS F32
#include "small_matmul_block.inc.h"

#define NAME eagle_small_matmul_f32x8
#define ATTRIBUTES EAGLE_DISPATCHED
#define PASS_ROWS 5
#define OUTPUT_DISTANCE OUTPUT_PREFETCH_BYTES
static const int8_t outputs_in_flight[PASS_ROWS + 1] = {0, 4, 3, 3, 2, 2};
#include "small_matmul_pass.inc.h"
