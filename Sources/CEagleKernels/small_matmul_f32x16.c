#include "small_matmul.h"

#if defined(__x86_64__)
// Weights of float32, vectors of sixteen lanes: AVX-512. One row has a single output in flight, since memory serves a
// single stream best.
#define LANES 16
#define WEIGHTS F32
#include "small_matmul_block.inc.h"

#define NAME eagle_small_matmul_f32x16
#define ATTRIBUTES EAGLE_AVX512
#define PASS_ROWS 9
#define OUTPUT_DISTANCE OUTPUT_PREFETCH_BYTES
static const int8_t outputs_in_flight[PASS_ROWS + 1] = {0, 1, 2, 2, 4, 3, 2, 2, 2, 2};
#include "small_matmul_pass.inc.h"
#endif
