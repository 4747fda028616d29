#include "include/CEagleKernels.h"

// What the processor can do, by CPUID, and what it does fast, by measuring. __builtin_cpu_supports knows AVX2 and
// AVX-512, and whether the system keeps their registers; the bits of bfloat16 it does not know in every compiler.

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <time.h>
#include "dispatch.h"

enum { EAX, EBX, ECX, EDX };

/// A register of CPUID leaf 7; 0 where the processor has no such leaf.
static unsigned leaf7(unsigned subleaf, int which) {
  unsigned registers[4] = {0, 0, 0, 0};
  if (!__get_cpuid_count(7, subleaf, &registers[EAX], &registers[EBX], &registers[ECX], &registers[EDX])) return 0;
  return registers[which];
}

int eagle_cpu_has_avx2(void) { return __builtin_cpu_supports("avx2"); }
int eagle_cpu_has_avx512(void) { return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"); }
int eagle_cpu_has_avx512_vnni(void) { return eagle_cpu_has_avx512() && __builtin_cpu_supports("avx512vnni"); }
int eagle_cpu_has_avx512_bf16(void) { return eagle_cpu_has_avx512() && (leaf7(1, EAX) >> 5 & 1); }
int eagle_cpu_has_amx_bf16(void) { return eagle_cpu_has_avx512() && (leaf7(0, EDX) >> 22 & 1); }

// MARK: measured

enum { CHAINS = 12, STEPS = 500, REPEATS = 12 };

static double nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/// The nanoseconds of STEPS products of each of some independent chains; `seed` is not known to the compiler.
EAGLE_AVX512_BF16 static double time_bf16(float seed, float *sink) {
  __m512 sum[CHAINS];
  for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps(seed + (float)i);
  __m512bh x = (__m512bh)_mm512_set1_ps(seed);
  double start = nanoseconds();
  for (int step = 0; step < STEPS; step++)
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], x, x);
  double time = nanoseconds() - start;
  for (int i = 0; i < CHAINS; i++) *sink += _mm512_reduce_add_ps(sum[i]);
  return time;
}

/// The same with two multiply-adds for each.
EAGLE_AVX512 static double time_f32(float seed, float *sink) {
  __m512 sum[CHAINS];
  for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps(seed + (float)i);
  __m512 x = _mm512_set1_ps(seed);
  double start = nanoseconds();
  for (int step = 0; step < 2 * STEPS; step++)
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_fmadd_ps(sum[i], x, x);
  double time = nanoseconds() - start;
  for (int i = 0; i < CHAINS; i++) *sink += _mm512_reduce_add_ps(sum[i]);
  return time;
}

int eagle_cpu_multiplies_bf16_fast(void) {
  volatile float seed = 0, kept;
  float sink = 0;
  // The fastest of several runs: on a busy machine some are interrupted.
  double bf16 = 1e18, f32 = 1e18;
  for (int repeat = 0; repeat < REPEATS; repeat++) {
    double a = time_bf16(seed, &sink), b = time_f32(seed, &sink);
    if (a < bf16) bf16 = a;
    if (b < f32) f32 = b;
  }
  kept = sink;  // so that no product may be left out
  (void)kept;
  // Clearly less: where both are alike every run shall decide alike.
  return 4 * bf16 < 3 * f32;
}
#else
int eagle_cpu_multiplies_bf16_fast(void) { return 0; }
int eagle_cpu_has_avx2(void) { return 0; }
int eagle_cpu_has_avx512(void) { return 0; }
int eagle_cpu_has_avx512_vnni(void) { return 0; }
int eagle_cpu_has_avx512_bf16(void) { return 0; }
int eagle_cpu_has_amx_bf16(void) { return 0; }
#endif
