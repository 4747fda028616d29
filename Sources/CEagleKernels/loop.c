#include "loop.h"

// How a thread takes tasks: from the front of its own partition, then from the back of the others'.

typedef struct {
  int64_t first, end;
} task_range;

// Tasks of a partition, none when there are none left: half of them with `guided`, else one.
static task_range take(partition *from, int guided, int from_back) {
  uint64_t range = atomic_load_explicit(&from->range, memory_order_relaxed);
  for (;;) {
    uint32_t first = (uint32_t)range, end = (uint32_t)(range >> 32);
    if (first >= end) return (task_range){0, 0};
    uint32_t taken = guided ? (end - first + 1) / 2 : 1;
    uint64_t remaining = from_back ? eagle_pack_range(first, end - taken) : eagle_pack_range(first + taken, end);
    if (atomic_compare_exchange_weak_explicit(&from->range, &range, remaining, memory_order_relaxed,
                                              memory_order_relaxed))
      return from_back ? (task_range){end - taken, end} : (task_range){first, first + taken};
  }
}

int eagle_next_task(eagle_tasks *tasks, int64_t *begin, int64_t *end) {
  struct eagle_loop *loop = tasks->loop;
  if (!loop->partitions) {
    *begin = 0;
    *end = loop->count;
    return !tasks->exhausted++;
  }
  for (; tasks->exhausted < loop->threads; tasks->exhausted++) {
    partition *from = loop->partitions + (tasks->partition + tasks->exhausted) % loop->threads;
    task_range taken = take(from, loop->schedule == EAGLE_GUIDED, tasks->exhausted > 0);
    if (taken.end == 0) continue;
    // Without a grain all tasks are of equal length.
    *begin = loop->grain ? taken.first * loop->grain : loop->count * taken.first / loop->tasks;
    *end = loop->grain ? taken.end * loop->grain : loop->count * taken.end / loop->tasks;
    if (*end > loop->count) *end = loop->count;
    return 1;
  }
  return 0;
}

int64_t eagle_partition_begin(int64_t count, int64_t grain, int64_t thread) {
  int64_t tasks = (count + grain - 1) / grain, limit = eagle_thread_count();
  int64_t threads = limit < tasks ? limit : tasks;
  return eagle_partition_start(tasks, threads, thread % threads) * grain;
}
