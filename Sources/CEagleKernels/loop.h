// A loop of the thread pool: its tasks and their partitions.
#ifndef EAGLE_LOOP_H
#define EAGLE_LOOP_H

#include "include/CEagleKernels.h"

#include <stdatomic.h>

// The tasks of a partition that no thread has taken. A cache line each, since different threads write to them.
typedef struct {
  _Alignas(64) _Atomic uint64_t range;  // the first task, and one past the last in the upper half
} partition;

struct eagle_loop {
  eagle_loop_body body;
  void *context;
  eagle_schedule schedule;
  int64_t count, grain, tasks;
  partition *partitions;  // one for each thread that may join; null where one thread does all
  int64_t threads;
};

/// A partition's word: the first task, and one past the last.
static inline uint64_t eagle_pack_range(uint64_t first, uint64_t end) { return end << 32 | first; }

/// The first task of a partition.
static inline int64_t eagle_partition_start(int64_t tasks, int64_t threads, int64_t index) {
  return tasks * index / threads;
}

#endif
