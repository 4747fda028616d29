// The thread pool, and what the processor can do.
#ifndef EAGLE_THREADS_H
#define EAGLE_THREADS_H

#include <stdint.h>

// MARK: thread pool (thread_pool.c, loop.c)

/// The tasks of a loop as one thread takes them.
typedef struct {
  struct eagle_loop *loop;
  int64_t thread;     // its number among those that join this loop, below what eagle_thread_count() was when it began
  int64_t partition;  // the one that it takes from first
  int64_t exhausted;  // partitions that it has found empty
} eagle_tasks;
/// The next task, or several next to one another: [begin, end). Returns 0 when there is none left.
int eagle_next_task(eagle_tasks *tasks, int64_t *begin, int64_t *end);

typedef void (*eagle_loop_body)(void *context, eagle_tasks *tasks);
/// How a loop is cut into tasks, in OpenMP's words.
typedef enum {
  EAGLE_STATIC,   // equal tasks for as many threads as there are grains begun
  EAGLE_DYNAMIC,  // tasks of the grain
  EAGLE_GUIDED,   // half of what is left of a partition at a time, down to one grain: threads end together
} eagle_schedule;
/// Runs the body on the calling thread, and on each worker that joins before all is done, with its tasks of [0, count).
/// A thread that has done its own partition steals from the others'. The caller works alone inside another loop, and
/// while another thread has one.
void eagle_parallel_for(int64_t count, int64_t grain, eagle_schedule schedule, eagle_loop_body body, void *context);
/// From now on loops of the calling thread run on it alone, and leave the pool to other threads; 0 ends that.
void eagle_work_alone(int alone);
/// The index at which the partition of a thread begins in a loop of another schedule than EAGLE_STATIC over [0, count)
/// with count > 0; the calling thread is 0, workers follow.
int64_t eagle_partition_begin(int64_t count, int64_t grain, int64_t thread);
/// Names the address where the partition of a worker, numbered from 1, will begin in what one of the next loops reads:
/// the worker prefetches from there while it waits, so that memory is not idle between loops. Any address will do; it
/// is never read.
void eagle_prefetch_hint(int64_t thread, const void *from);
/// Threads of a loop: as many as OMP_NUM_THREADS says, or as there are processors, until the number is set. That sets
/// it for oneDNN and OpenBLAS too, whose threads are libgomp's, as far as the calling thread calls them.
int eagle_thread_count(void);
void eagle_set_thread_count(int threads);

// MARK: libgomp (libgomp.c)

/// Starts this process again, once, with GOMP_SPINCOUNT set: libgomp reads it while the process is loaded. Returns when
/// it is set already, or when the process cannot be started.
void eagle_limit_spinning(char *const *arguments);

// MARK: processor (processor.c)

int eagle_cpu_has_avx2(void);
int eagle_cpu_has_avx512(void);
int eagle_cpu_has_avx512_vnni(void);
int eagle_cpu_has_avx512_bf16(void);
int eagle_cpu_has_amx_bf16(void);
/// Whether vdpbf16ps takes less time than two multiply-adds of float32 vectors, which do the same: on AMD's processors
/// with AVX512-BF16, not on Intel's. By vendor and not by measuring: neighbours on the same core change the times, and
/// a run must have the same bits whenever it is started.
int eagle_cpu_multiplies_bf16_fast(void);

#endif
