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

// The pieces of one thread's share that are not taken: it takes them from the front, so that what it reads comes in the order of
// memory; a thread that has done its own takes from the back. Shares are a cache line apart.
typedef struct {
  _Alignas(64) _Atomic uint64_t left;  // first piece, and one past the last in the upper half
} eagle_share;

struct eagle_loop {
  eagle_task task;
  void *context;
  int64_t count, grain;
  eagle_share *shares;  // null where every thread does its own in one piece
  int64_t share_count;  // as many as threads were asked for; there may come fewer
};

// A piece of a share, or -1 when there is none.
static int64_t take(eagle_share *share, int from_back) {
  uint64_t left = atomic_load_explicit(&share->left, memory_order_relaxed);
  for (;;) {
    uint32_t first = (uint32_t)left, end = (uint32_t)(left >> 32);
    if (first >= end) return -1;
    uint64_t rest = from_back ? (uint64_t)(end - 1) << 32 | first : (uint64_t)end << 32 | (first + 1);
    if (atomic_compare_exchange_weak_explicit(&share->left, &left, rest, memory_order_relaxed, memory_order_relaxed))
      return from_back ? end - 1 : first;
  }
}

int eagle_next_piece(eagle_pieces *pieces, int64_t *begin, int64_t *end) {
  struct eagle_loop *loop = pieces->loop;
  if (!loop->shares) {
    *begin = loop->count * pieces->thread / pieces->threads;
    *end = loop->count * (pieces->thread + 1) / pieces->threads;
    return !pieces->done++ && *begin < *end;
  }
  for (; pieces->done < loop->share_count; pieces->done++) {
    int64_t piece = take(loop->shares + (pieces->thread + pieces->done) % loop->share_count, pieces->done > 0);
    if (piece < 0) continue;
    *begin = piece * loop->grain;
    *end = *begin + loop->grain < loop->count ? *begin + loop->grain : loop->count;
    return 1;
  }
  return 0;
}

static void run_share(void *argument) {
  struct eagle_loop *loop = argument;
  eagle_pieces pieces = {loop, omp_get_thread_num(), omp_get_num_threads(), 0};
  loop->task(loop->context, &pieces);
}

void eagle_parallel_for(int64_t count, int64_t grain, int dynamic, eagle_task task, void *context) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  int64_t pieces = (count + grain - 1) / grain;
  int64_t threads = omp_get_max_threads();
  if (threads > pieces) threads = pieces;
  struct eagle_loop loop = {task, context, count, grain, 0, threads};
  if (threads <= 1 || omp_in_parallel()) {
    eagle_pieces all = {&loop, 0, 1, 0};
    task(context, &all);
    return;
  }
  eagle_share shares[dynamic ? threads : 1];
  for (int64_t i = 0; dynamic && i < threads; i++)
    atomic_init(&shares[i].left, (uint64_t)(pieces * (i + 1) / threads) << 32 | (uint64_t)(pieces * i / threads));
  if (dynamic) loop.shares = shares;
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
