// Delays packets for scripts/test-hosts if the kernel has no netem: reads them from the network device "relay", which
// it creates, and writes each back after some nanoseconds. Usage: relay NANOSECONDS
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { PACKET_BYTES = 1 << 17, RING_BYTES = 1 << 28, PACKETS = 1 << 17 };
static char ring[RING_BYTES];
static struct { int64_t due; size_t start, size; } queue[PACKETS];
static uint64_t head, tail;  // packets written back so far, packets read so far
static size_t end;           // offset in the ring of the next packet
static int64_t late;         // ns between the requested time and that of waking up, on average

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void check(int result, const char *what) {
  if (result < 0) {
    perror(what);
    exit(1);
  }
}

static int open_device(void) {
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  check(device, "/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  strcpy(request.ifr_name, "relay");
  check(ioctl(device, TUNSETIFF, &request), "TUNSETIFF");
  // Packets that the sender has left to segmentation offload are not split.
  check(ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN), "TUNSETOFFLOAD");
  return device;
}

// Keeps the delay exact even if ranks use every core.
static void take_priority(void) {
  struct sched_param priority = {.sched_priority = 1};
  sched_setscheduler(0, SCHED_FIFO, &priority);
  prctl(PR_SET_TIMERSLACK, 1);
}

// Reads a packet if there is one and the ring has space. Returns whether it has read one.
static int read_packet(int device, int64_t delay) {
  size_t begin = head < tail ? queue[head % PACKETS].start : end;
  size_t used = head < tail ? (end + RING_BYTES - begin) % RING_BYTES : 0;
  if (tail - head >= PACKETS || used + 2 * PACKET_BYTES >= RING_BYTES) return 0;
  if (end + PACKET_BYTES > RING_BYTES) end = 0;
  ssize_t size = read(device, ring + end, PACKET_BYTES);
  if (size <= 0) {
    if (errno != EAGAIN && errno != EINTR && errno != EIO) check(-1, "read");
    return 0;
  }
  queue[tail % PACKETS].due = now() + delay;
  queue[tail % PACKETS].start = end;
  queue[tail % PACKETS].size = size;
  tail++;
  end += size;
  return 1;
}

// Writes the oldest packet back if it is due. Returns whether it was; otherwise *wait is the time until then in ns, or
// -1 if there is no packet.
static int write_packet(int device, int64_t *wait) {
  *wait = -1;
  if (head == tail || (*wait = queue[head % PACKETS].due - late - now()) > 0) return 0;
  (void)!write(device, ring + queue[head % PACKETS].start, queue[head % PACKETS].size);
  head++;
  return 1;
}

// Sleeps until a packet comes or the oldest one is due.
static void sleep_until_next(int device, int64_t wait, int64_t delay) {
  struct timespec left = {wait / 1000000000, wait % 1000000000};
  struct pollfd readable = {device, POLLIN, 0};
  if (ppoll(&readable, 1, wait < 0 ? NULL : &left, NULL) != 0) return;
  late += (now() - queue[head % PACKETS].due) / 16;
  if (late < 0) late = 0;
  if (late > delay / 2) late = delay / 2;
}

int main(int count, char **arguments) {
  int64_t delay = atoll(arguments[count - 1]);
  int device = open_device();
  take_priority();
  for (;;) {
    int64_t wait;
    int moved = read_packet(device, delay);
    moved |= write_packet(device, &wait);
    if (!moved) sleep_until_next(device, wait, delay);
  }
}
