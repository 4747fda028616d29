#include "small_matmul.h"

#if defined(__x86_64__)
// Rows rounded to bfloat16, weights of up to LONG_K values an output. They have as few outputs in flight as their sums
// allow, since memory serves a single stream best.
#define MAX_K LONG_K
#include "small_matmul_rounded.inc.h"

#define NAME eagle_small_matmul_rounded_short
static const int8_t outputs_in_flight[PASS_ROWS + 1] = {0, 1, 1, 1, 1, 1, 1, 2, 2, 2};
#include "small_matmul_pass.inc.h"
#endif
