#define _GNU_SOURCE
#include "loop.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

// A work-stealing thread pool with guided self-scheduling, one for the process.
//
// A loop over [0, count) is cut into tasks, and the tasks into one contiguous partition for each thread. A thread takes
// tasks from the front of its own partition, so that what it reads comes in the order of memory; when that is empty it
// steals from the back of the others'. EAGLE_GUIDED takes half of what is left of a partition each time (guided
// self-scheduling): long runs at first, single grains in the end, so that all threads end together.
//
// The barrier at the end waits only for workers that have joined the loop. A worker that has no processor at the moment
// is never waited for: its partition is stolen. So a busy machine slows a program by what it takes of the processors,
// and does not stop it at each of some thousand loops a second.
//
// Workers spin for SPINS looks at `pool.number`, then sleep on it with a futex; the owner of a loop waits for the last
// workers in the same way on `pool.left`.
//
// One word, the gate, admits workers to a loop: | number : 32 | open : 1 | limit : 15 | joined : 16 |. Its invariants:
//  - Only the owner, the thread that has set `pool.is_taken`, opens the gate, by storing a word with a new number, and
//    closes it, by clearing `open`. It opens it only after the loop before has been closed and all that joined it have
//    left.
//  - A worker only adds 1 to `joined`, by compare-and-swap, while the gate is open under the number that the worker has
//    seen and `joined` is below `limit`. So `joined` is final when the gate is closed, and a late worker never joins a
//    loop that it does not know.
//  - `pool.loop` is written while the gate is closed and read by those who have joined. The loop is on the owner's
//    stack: a worker adds 1 to `pool.left` after its last access, and the owner returns when `left` is the final
//    `joined`.
//  - `pool.number` is stored after the gate, so a worker that sees a new number finds its gate, open or closed already.

// libgomp's, whose threads are those of oneDNN and OpenBLAS; its header belongs to GCC, so what is needed is declared
// here.
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int);

// MARK: the pool

// Looks at a word before a thread sleeps: 50 to 200 microseconds, more than there are between two loops of a pass.
enum { SPINS = 4000 };

#define GATE_OPEN 0x80000000u

static uint64_t open_gate(uint32_t number, uint32_t limit) { return (uint64_t)number << 32 | GATE_OPEN | limit << 16; }
static uint32_t gate_number(uint64_t gate) { return (uint32_t)(gate >> 32); }
static uint32_t gate_limit(uint64_t gate) { return (uint32_t)gate >> 16 & 0x7fff; }
static uint32_t gate_joined(uint64_t gate) { return (uint32_t)gate & 0xffff; }

static struct {
  _Atomic int is_taken;    // by the owner of the loop; other threads meanwhile work alone
  int workers;             // that have been started
  _Atomic uint32_t active; // workers that may look for loops; those of higher numbers sleep
  struct eagle_loop *loop;
  _Alignas(64) _Atomic uint64_t gate;
  _Atomic uint32_t number;  // of the newest loop: what workers spin and sleep on
  _Atomic uint32_t sleepers;
  _Alignas(64) _Atomic uint32_t left;  // workers that have joined the loop and are done with it
  _Atomic uint32_t owner_sleeps;
} pool;

static _Atomic int thread_count;
static _Thread_local int is_inside;  // a loop: this thread does inner loops alone

static void sleep_while(_Atomic uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, 0, 0, 0);
}

static void wake(_Atomic uint32_t *word, int threads) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, 0, 0, 0);
}

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// MARK: prefetch while a worker waits

// What loops to come will read, for each worker; 0 when it has been fetched.
enum { MAX_HINTS = 64, HINT_BYTES = 262144 };
static _Atomic(const char *) hints[MAX_HINTS];

void eagle_prefetch_hint(int64_t thread, const void *from) {
  if (thread > 0 && thread < MAX_HINTS) atomic_store_explicit(&hints[thread], from, memory_order_relaxed);
}

/// Fetches what the hint names into the L2 cache, as long as there is no new loop.
static void prefetch_hinted(uint32_t seen, uintptr_t worker) {
  if (worker >= MAX_HINTS || !atomic_load_explicit(&hints[worker], memory_order_relaxed)) return;
  const char *from = atomic_exchange_explicit(&hints[worker], 0, memory_order_relaxed);
  for (int at = 0; at < HINT_BYTES && atomic_load_explicit(&pool.number, memory_order_relaxed) == seen; at += 256)
    for (int line = 0; line < 256; line += 64) __builtin_prefetch(from + at + line, 0, 2);
}

// MARK: workers

/// Waits until there is a loop of another number than the one seen, and returns the number.
static uint32_t wait_for_loop(uint32_t seen, uintptr_t worker) {
  prefetch_hinted(seen, worker);
  for (;;) {
    for (int i = 0; i < SPINS; i++, relax()) {
      uint32_t number = atomic_load(&pool.number);
      if (number != seen) return number;
    }
    atomic_fetch_add(&pool.sleepers, 1);
    sleep_while(&pool.number, seen);
    atomic_fetch_sub(&pool.sleepers, 1);
  }
}

/// The number that this worker has among the threads of the loop of that number; 0 when it takes no part.
static int64_t join_loop(uint32_t number) {
  uint64_t gate = atomic_load(&pool.gate);
  while (gate_number(gate) == number && gate & GATE_OPEN && gate_joined(gate) < gate_limit(gate))
    if (atomic_compare_exchange_weak(&pool.gate, &gate, gate + 1)) return gate_joined(gate) + 1;
  return 0;
}

/// Does the tasks that this worker finds in the loop that it has joined, then leaves it.
static void work(int64_t thread, uintptr_t worker) {
  struct eagle_loop *loop = pool.loop;
  // Always the same partition, as far as there is one for each thread: part of it may be in this processor's cache.
  eagle_tasks tasks = {loop, thread, (int64_t)worker % loop->threads, 0};
  loop->body(loop->context, &tasks);
  atomic_fetch_add(&pool.left, 1);
  if (atomic_load(&pool.owner_sleeps)) wake(&pool.left, 1);
}

/// The main function of a worker; `index` is its number, from 1.
static void *run_worker(void *index) {
  omp_set_num_threads(1);  // what a loop's body calls is not to start threads of its own
  is_inside = 1;
  for (uint32_t number = 0;;) {
    for (uint32_t active; (active = atomic_load(&pool.active)) < (uintptr_t)index;) sleep_while(&pool.active, active);
    number = wait_for_loop(number, (uintptr_t)index);
    int64_t thread = join_loop(number);
    if (thread) work(thread, (uintptr_t)index);
  }
  return 0;
}

/// Starts workers until there are `wanted`. Fewer are no error: the existing threads do the tasks.
static void start_workers(int wanted) {
  sigset_t all, before;
  sigfillset(&all);
  // Faults of the thread itself still go to their handlers.
  const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the program's own threads
  for (pthread_t thread; pool.workers < wanted; pool.workers++) {
    if (pthread_create(&thread, 0, run_worker, (void *)(uintptr_t)(pool.workers + 1)) != 0) break;
    pthread_detach(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, 0);
}

// MARK: the owner of a loop

static void wait_for_workers(uint32_t joined) {
  uint32_t left;
  for (int i = 0; i < SPINS; i++, relax())
    if (atomic_load(&pool.left) == joined) return;
  atomic_store(&pool.owner_sleeps, 1);
  while ((left = atomic_load(&pool.left)) != joined) sleep_while(&pool.left, left);
  atomic_store(&pool.owner_sleeps, 0);
}

/// Lets workers join the loop, in the order that the invariants above need.
static void admit_workers(struct eagle_loop *loop) {
  uint32_t limit = (uint32_t)loop->threads - 1;
  pool.loop = loop;
  atomic_store(&pool.left, 0);
  uint32_t number = atomic_load(&pool.number) + 1;
  atomic_store(&pool.gate, open_gate(number, limit));
  atomic_store(&pool.number, number);
  if (atomic_load(&pool.sleepers)) wake(&pool.number, (int)limit);
}

static void run_loop(struct eagle_loop *loop, int64_t thread_limit) {
  uint32_t active = (uint32_t)thread_limit - 1;
  if (atomic_exchange(&pool.active, active) != active) wake(&pool.active, INT_MAX);
  if (pool.workers < loop->threads - 1) start_workers((int)loop->threads - 1);
  admit_workers(loop);
  eagle_tasks tasks = {loop, 0, 0, 0};
  loop->body(loop->context, &tasks);
  wait_for_workers(gate_joined(atomic_fetch_and(&pool.gate, ~(uint64_t)GATE_OPEN)));
}

/// Runs a loop on the pool, which the caller has taken.
static void run_partitioned(struct eagle_loop *loop, int64_t thread_limit) {
  partition partitions[loop->threads];
  for (int64_t i = 0; i < loop->threads; i++) {
    int64_t first = eagle_partition_start(loop->tasks, loop->threads, i);
    int64_t end = eagle_partition_start(loop->tasks, loop->threads, i + 1);
    atomic_init(&partitions[i].range, eagle_pack_range(first, end));
  }
  loop->partitions = partitions;
  run_loop(loop, thread_limit);
}

void eagle_parallel_for(int64_t count, int64_t grain, eagle_schedule schedule, eagle_loop_body body, void *context) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  int64_t tasks = (count + grain - 1) / grain, limit = eagle_thread_count();
  int64_t threads = limit < tasks ? limit : tasks;
  int is_static = schedule == EAGLE_STATIC;
  struct eagle_loop loop = {
      body, context, schedule, count, is_static ? 0 : grain, is_static ? threads : tasks, 0, threads};
  eagle_tasks all = {&loop, 0, 0, 0};
  if (threads <= 1 || is_inside) return body(context, &all);
  int others = omp_get_max_threads();
  omp_set_num_threads(1);
  is_inside = 1;
  if (atomic_exchange(&pool.is_taken, 1)) {
    body(context, &all);
  } else {
    run_partitioned(&loop, limit);
    atomic_store(&pool.is_taken, 0);
  }
  is_inside = 0;
  omp_set_num_threads(others);
}

void eagle_work_alone(int alone) { is_inside = alone; }

int eagle_thread_count(void) {
  int count = atomic_load(&thread_count);
  if (!count) count = omp_get_max_threads();
  return count < 0x7fff ? count : 0x7fff;  // what the gate's limit holds
}

void eagle_set_thread_count(int threads) {
  if (threads < 1) threads = 1;
  atomic_store(&thread_count, threads);
  omp_set_num_threads(threads);
}
