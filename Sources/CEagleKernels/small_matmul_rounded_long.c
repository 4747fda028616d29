#include "small_matmul.h"

#if defined(__x86_64__)
// Rows rounded to bfloat16, weights of more than LONG_K values an output: those take too long for the next output to
// begin meanwhile, so there are as many in flight as registers have sums for.
#define MAX_K INT64_MAX
#include "small_matmul_rounded.inc.h"

#define NAME eagle_small_matmul_rounded_long
static const int8_t outputs_in_flight[PASS_ROWS + 1] = {0, 4, 4, 4, 4, 3, 2, 2, 2, 2};
#include "small_matmul_pass.inc.h"
#endif
