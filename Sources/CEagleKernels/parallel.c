#define _GNU_SOURCE
#include "include/CEagleKernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

// One set of helpers for the process, which wait for loops. A loop ends when its pieces are done, whoever did them: a helper that
// has no processor at the moment is waited for only if it has taken a piece. So a busy machine slows a program by what it takes of
// the processors, and does not stop it at each of some thousand loops a second.

// libgomp's, whose threads are those of oneDNN and OpenBLAS; its header belongs to GCC, so what is needed is declared here.
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int);

// The pieces of one thread's share that are not taken: it takes them from the front, so that what it reads comes in the order of
// memory; a thread that has done its own takes from the back. Shares are a cache line apart.
typedef struct {
  _Alignas(64) _Atomic uint64_t left;  // first piece, and one past the last in the upper half
} eagle_share;

struct eagle_loop {
  eagle_task task;
  void *context;
  eagle_loop_kind kind;
  int64_t count, grain, pieces;
  eagle_share *shares;  // one for each thread that may come; null where one thread does all
  int64_t threads;
};

typedef struct {
  int64_t first, end;
} eagle_range;

// Some pieces of a share, none when there are none left: half of them with `halves`, else one.
static eagle_range take(eagle_share *share, int halves, int from_back) {
  uint64_t left = atomic_load_explicit(&share->left, memory_order_relaxed);
  for (;;) {
    uint32_t first = (uint32_t)left, end = (uint32_t)(left >> 32);
    if (first >= end) return (eagle_range){0, 0};
    uint32_t taken = halves ? (end - first + 1) / 2 : 1;
    uint64_t rest = from_back ? (uint64_t)(end - taken) << 32 | first : (uint64_t)end << 32 | (first + taken);
    if (atomic_compare_exchange_weak_explicit(&share->left, &left, rest, memory_order_relaxed, memory_order_relaxed))
      return from_back ? (eagle_range){end - taken, end} : (eagle_range){first, first + taken};
  }
}

int eagle_next_piece(eagle_pieces *pieces, int64_t *begin, int64_t *end) {
  struct eagle_loop *loop = pieces->loop;
  if (!loop->shares) {
    *begin = 0;
    *end = loop->count;
    return !pieces->done++;
  }
  for (; pieces->done < loop->threads; pieces->done++) {
    eagle_share *share = loop->shares + (pieces->share + pieces->done) % loop->threads;
    eagle_range taken = take(share, loop->kind == EAGLE_HALVES, pieces->done > 0);
    if (taken.end == 0) continue;
    // Without a grain all pieces are alike.
    *begin = loop->grain ? taken.first * loop->grain : loop->count * taken.first / loop->pieces;
    *end = loop->grain ? taken.end * loop->grain : loop->count * taken.end / loop->pieces;
    if (*end > loop->count) *end = loop->count;
    return 1;
  }
  return 0;
}

// How often a thread looks before it sleeps: 50 to 200 microseconds, more than there are between two loops of a pass.
enum { LOOKS = 4000 };

// The lower half of the gate: whether the loop takes helpers, how many at most, and how many have come.
#define OPEN 0x80000000u
#define MOST(gate) ((uint32_t)(gate) >> 16 & 0x7fff)
#define JOINED(gate) ((uint32_t)(gate) & 0xffff)

static struct {
  _Atomic int is_taken;  // by the thread whose loop this is; others meanwhile work alone
  int helpers;           // that have been started
  _Atomic uint32_t most; // helpers that may look for loops; the others sleep until there may be more
  struct eagle_loop *loop;
  _Alignas(64) _Atomic uint64_t gate;  // the loop's number in the upper half
  _Atomic uint32_t number;             // the same, for sleepers
  _Atomic uint32_t sleepers;
  _Alignas(64) _Atomic uint32_t gone;  // helpers that are done with the loop
  _Atomic uint32_t is_waited;
} pool;

static _Atomic int thread_count;
static _Thread_local int is_inside;

static void sleep_while(_Atomic uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, 0, 0, 0);
}

static void wake(_Atomic uint32_t *word, int threads) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, 0, 0, 0); }

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// What loops to come will read, for each helper; 0 when it has been fetched.
enum { MOST_EXPECTING = 64, EXPECTED_BYTES = 262144 };
static _Atomic(const char *) expected[MOST_EXPECTING];

void eagle_expect(int64_t thread, const void *from) {
  if (thread > 0 && thread < MOST_EXPECTING) atomic_store_explicit(&expected[thread], from, memory_order_relaxed);
}

/// Fetches what is expected into the second cache, as long as there is no new loop.
static void fetch_expected(uint32_t seen, uintptr_t index) {
  if (index >= MOST_EXPECTING || !atomic_load_explicit(&expected[index], memory_order_relaxed)) return;
  const char *from = atomic_exchange_explicit(&expected[index], 0, memory_order_relaxed);
  for (int at = 0; at < EXPECTED_BYTES && atomic_load_explicit(&pool.number, memory_order_relaxed) == seen; at += 256)
    for (int line = 0; line < 256; line += 64) __builtin_prefetch(from + at + line, 0, 2);
}

/// Waits until the word is another.
static uint32_t next_number(uint32_t seen, uintptr_t index) {
  fetch_expected(seen, index);
  for (;;) {
    for (int i = 0; i < LOOKS; i++, relax()) {
      uint32_t number = atomic_load(&pool.number);
      if (number != seen) return number;
    }
    atomic_fetch_add(&pool.sleepers, 1);
    sleep_while(&pool.number, seen);
    atomic_fetch_sub(&pool.sleepers, 1);
  }
}

/// The number among its threads that this helper has in the loop of that number; 0 when it takes no part.
static int64_t join(uint32_t number) {
  uint64_t gate = atomic_load(&pool.gate);
  while (gate >> 32 == number && gate & OPEN && JOINED(gate) < MOST(gate))
    if (atomic_compare_exchange_weak(&pool.gate, &gate, gate + 1)) return JOINED(gate) + 1;
  return 0;
}

/// `index` is the helper's number, from 1.
static void *help(void *index) {
  omp_set_num_threads(1);  // what a task calls is not to start threads of its own
  is_inside = 1;
  for (uint32_t number = 0;;) {
    for (uint32_t most; (most = atomic_load(&pool.most)) < (uintptr_t)index;) sleep_while(&pool.most, most);
    number = next_number(number, (uintptr_t)index);
    int64_t thread = join(number);
    if (!thread) continue;
    struct eagle_loop *loop = pool.loop;
    // Always the same share, as far as there is one for each thread: part of it may be in this processor's cache.
    eagle_pieces pieces = {loop, thread, (int64_t)(uintptr_t)index % loop->threads, 0};
    loop->task(loop->context, &pieces);
    atomic_fetch_add(&pool.gone, 1);
    if (atomic_load(&pool.is_waited)) wake(&pool.gone, 1);
  }
  return 0;
}

/// Fewer helpers than wanted are no error: the pieces are done by those who are there.
static void start_helpers(int wanted) {
  sigset_t all, before;
  sigfillset(&all);
  // Faults of the thread itself go to their handlers all the same.
  const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the program's own threads
  for (pthread_t thread; pool.helpers < wanted; pool.helpers++) {
    if (pthread_create(&thread, 0, help, (void *)(uintptr_t)(pool.helpers + 1)) != 0) break;
    pthread_detach(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, 0);
}

static void wait_for_helpers(uint32_t joined) {
  uint32_t gone;
  for (int i = 0; i < LOOKS; i++, relax())
    if (atomic_load(&pool.gone) == joined) return;
  atomic_store(&pool.is_waited, 1);
  while ((gone = atomic_load(&pool.gone)) != joined) sleep_while(&pool.gone, gone);
  atomic_store(&pool.is_waited, 0);
}

static void run(struct eagle_loop *loop, int64_t limit) {
  uint32_t most = (uint32_t)limit - 1;
  if (atomic_exchange(&pool.most, most) != most) wake(&pool.most, INT_MAX);
  if (pool.helpers < loop->threads - 1) start_helpers((int)loop->threads - 1);
  pool.loop = loop;
  atomic_store(&pool.gone, 0);
  uint32_t number = atomic_load(&pool.number) + 1;
  atomic_store(&pool.gate, (uint64_t)number << 32 | OPEN | (uint64_t)(loop->threads - 1) << 16);
  atomic_store(&pool.number, number);
  if (atomic_load(&pool.sleepers)) wake(&pool.number, (int)loop->threads - 1);
  eagle_pieces pieces = {loop, 0, 0, 0};
  loop->task(loop->context, &pieces);
  wait_for_helpers(JOINED(atomic_fetch_and(&pool.gate, ~(uint64_t)OPEN)));
}

/// The first piece of a share.
static int64_t share_start(int64_t pieces, int64_t threads, int64_t share) { return pieces * share / threads; }

int64_t eagle_share_begin(int64_t count, int64_t grain, int64_t thread) {
  int64_t pieces = (count + grain - 1) / grain, limit = eagle_thread_count();
  int64_t threads = limit < pieces ? limit : pieces;
  return share_start(pieces, threads, thread % threads) * grain;
}

void eagle_parallel_for(int64_t count, int64_t grain, eagle_loop_kind kind, eagle_task task, void *context) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  int64_t pieces = (count + grain - 1) / grain, limit = eagle_thread_count();
  int64_t threads = limit < pieces ? limit : pieces;
  int is_even = kind == EAGLE_EVEN;
  struct eagle_loop loop = {task, context, kind, count, is_even ? 0 : grain, is_even ? threads : pieces, 0, threads};
  eagle_pieces all = {&loop, 0, 0, 0};
  if (threads <= 1 || is_inside) return task(context, &all);
  int others = omp_get_max_threads();
  omp_set_num_threads(1);
  is_inside = 1;
  if (atomic_exchange(&pool.is_taken, 1)) {
    task(context, &all);
  } else {
    eagle_share shares[threads];
    for (int64_t i = 0; i < threads; i++)
      atomic_init(&shares[i].left,
                  (uint64_t)share_start(loop.pieces, threads, i + 1) << 32 | (uint64_t)share_start(loop.pieces, threads, i));
    loop.shares = shares;
    run(&loop, limit);
    atomic_store(&pool.is_taken, 0);
  }
  is_inside = 0;
  omp_set_num_threads(others);
}

int eagle_thread_count(void) {
  int count = atomic_load(&thread_count);
  if (!count) count = omp_get_max_threads();
  return count < 0x7fff ? count : 0x7fff;  // what the gate has room for
}

void eagle_set_thread_count(int threads) {
  atomic_store(&thread_count, threads < 1 ? 1 : threads);
  omp_set_num_threads(threads);
}

void eagle_bound_waiting(char *const *arguments) {
  if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
  if (setenv("GOMP_SPINCOUNT", "1000", 0) != 0) return;
  // By its own name, so that lists of processes show it; by the link when the file has been replaced meanwhile.
  char name[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", name, sizeof name - 1);
  if (length > 0) {
    name[length] = 0;
    execv(name, arguments);
  }
  execv("/proc/self/exe", arguments);
}

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
