#include "include/CEagleKernels.h"

// What the processor can do, and what it does fast, by CPUID. __builtin_cpu_supports knows AVX2 and AVX-512, and
// whether the system keeps their registers; not every compiler's version knows the bits of bfloat16.

#if defined(__x86_64__)
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };

/// A register of CPUID leaf 7; 0 where the processor has no such leaf.
static unsigned leaf7(unsigned subleaf, int which) {
  unsigned registers[4] = {0, 0, 0, 0};
  if (!__get_cpuid_count(7, subleaf, &registers[EAX], &registers[EBX], &registers[ECX], &registers[EDX])) return 0;
  return registers[which];
}

/// Whether the system keeps the tiles of AMX: bits 17 and 18 of XCR0, which is there where OSXSAVE is.
static int keeps_tiles(void) {
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low >> 17 & 3) == 3;
}

// All that the kernels of a level are compiled for: a virtual machine can mask single features.
int eagle_cpu_has_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
int eagle_cpu_has_avx512(void) {
  return eagle_cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
}
int eagle_cpu_has_avx512_vnni(void) { return eagle_cpu_has_avx512() && __builtin_cpu_supports("avx512vnni"); }
int eagle_cpu_has_avx512_bf16(void) { return eagle_cpu_has_avx512() && (leaf7(1, EAX) >> 5 & 1); }
int eagle_cpu_has_amx_bf16(void) { return eagle_cpu_has_avx512() && (leaf7(0, EDX) >> 22 & 1) && keeps_tiles(); }

int eagle_cpu_multiplies_bf16_fast(void) { return __builtin_cpu_is("amd"); }
#else
int eagle_cpu_multiplies_bf16_fast(void) { return 0; }
int eagle_cpu_has_avx2(void) { return 0; }
int eagle_cpu_has_avx512(void) { return 0; }
int eagle_cpu_has_avx512_vnni(void) { return 0; }
int eagle_cpu_has_avx512_bf16(void) { return 0; }
int eagle_cpu_has_amx_bf16(void) { return 0; }
#endif
