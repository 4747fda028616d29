#include "dispatch.h"
#include "include/CEagleKernels.h"

// Inf and NaN are the values whose exponent bits are all 1. A block is first tested for holding one at all: an OR over
// vectors, at the speed of memory. Only a block that does is counted.
enum { BLOCK = 4096 };

#define EAGLE_COUNT_NONFINITE(NAME, WORD)                                        \
  EAGLE_DISPATCHED                                                               \
  int64_t NAME(const WORD *x, int64_t n, WORD exponent, int64_t *first) {        \
    int64_t count = 0;                                                           \
    for (int64_t start = 0; start < n; start += BLOCK) {                         \
      int64_t end = start + BLOCK < n ? start + BLOCK : n;                       \
      WORD found = 0;                                                            \
      for (int64_t i = start; i < end; i++) found |= (x[i] & exponent) == exponent; \
      if (!found) continue;                                                      \
      for (int64_t i = start; i < end; i++) {                                    \
        if ((x[i] & exponent) != exponent) continue;                             \
        if (count == 0) *first = i;                                              \
        count++;                                                                 \
      }                                                                          \
    }                                                                            \
    return count;                                                                \
  }

EAGLE_COUNT_NONFINITE(eagle_count_nonfinite16, uint16_t)
EAGLE_COUNT_NONFINITE(eagle_count_nonfinite32, uint32_t)
