#include "include/CEagleKernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

// libgomp's entry points; its header belongs to GCC, so the few that are needed are declared here.
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int);
extern int omp_in_parallel(void);

typedef struct {
  eagle_task task;
  void *context;
  int64_t count, grain;
  int dynamic;
  atomic_int_fast64_t next;
} eagle_loop;

static void run_share(void *argument) {
  eagle_loop *loop = argument;
  if (loop->dynamic) {
    for (;;) {
      int64_t begin = atomic_fetch_add(&loop->next, loop->grain);
      if (begin >= loop->count) return;
      int64_t end = begin + loop->grain;
      loop->task(loop->context, begin, end < loop->count ? end : loop->count);
    }
  }
  int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
  int64_t begin = loop->count * thread / threads, end = loop->count * (thread + 1) / threads;
  if (begin < end) loop->task(loop->context, begin, end);
}

void eagle_parallel_for(int64_t count, int64_t grain, int dynamic, eagle_task task, void *context) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  int64_t pieces = (count + grain - 1) / grain;
  int64_t threads = omp_get_max_threads();
  if (threads > pieces) threads = pieces;
  if (threads <= 1 || omp_in_parallel()) {
    task(context, 0, count);
    return;
  }
  eagle_loop loop = {task, context, count, grain, dynamic, 0};
  GOMP_parallel(run_share, &loop, (unsigned)threads, 0);
}

void eagle_bound_waiting(char *const *arguments) {
  if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
  if (setenv("GOMP_SPINCOUNT", "30000", 0) != 0) return;
  // By its own name, so that lists of processes show it; by the link when the file has been replaced meanwhile.
  char name[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", name, sizeof name - 1);
  if (length > 0) {
    name[length] = 0;
    execv(name, arguments);
  }
  execv("/proc/self/exe", arguments);
}

int eagle_thread_count(void) { return omp_get_max_threads(); }
void eagle_set_thread_count(int threads) { omp_set_num_threads(threads); }

#if defined(__x86_64__)
static unsigned leaf7(unsigned subleaf, int which) {
  unsigned registers[4] = {0, 0, 0, 0};
  if (!__get_cpuid_count(7, subleaf, &registers[0], &registers[1], &registers[2], &registers[3])) return 0;
  return registers[which];
}
int eagle_cpu_has_avx2(void) { return __builtin_cpu_supports("avx2"); }
int eagle_cpu_has_avx512(void) { return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"); }
int eagle_cpu_has_avx512_bf16(void) { return eagle_cpu_has_avx512() && (leaf7(1, 0) >> 5 & 1); }
int eagle_cpu_has_amx_bf16(void) { return eagle_cpu_has_avx512() && (leaf7(0, 3) >> 22 & 1); }
#else
int eagle_cpu_has_avx2(void) { return 0; }
int eagle_cpu_has_avx512(void) { return 0; }
int eagle_cpu_has_avx512_bf16(void) { return 0; }
int eagle_cpu_has_amx_bf16(void) { return 0; }
#endif
