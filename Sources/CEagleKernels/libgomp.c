#define _GNU_SOURCE
#include "include/CEagleKernels.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

// libgomp's threads are those of oneDNN and OpenBLAS. Between two loops they spin for milliseconds by default, on the
// cores that the thread pool (thread_pool.c) needs; GOMP_SPINCOUNT bounds that.

void eagle_limit_spinning(char *const *arguments) {
  if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
  if (setenv("GOMP_SPINCOUNT", "1000", 0) != 0) return;
  // By its own path, so that lists of processes show its name; by the link if the file has been replaced meanwhile.
  char name[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", name, sizeof name - 1);
  if (length > 0) {
    name[length] = 0;
    execv(name, arguments);
  }
  execv("/proc/self/exe", arguments);
}
