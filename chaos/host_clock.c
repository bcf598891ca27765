/* Preloaded into a process: moves its host clock by the nanoseconds in the file CHAOS_CLOCK names, also while it runs.
   The monotonic clock is as it was. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static volatile long long *moved_by;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("CHAOS_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  if (file < 0) return;
  void *found = mmap(NULL, sizeof *moved_by, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (found != MAP_FAILED) moved_by = found;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  if (!real) begin();
  int failed = real(clock, at);
  if (failed || !moved_by || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
  long long nanoseconds = at->tv_sec * SECOND + at->tv_nsec + *moved_by;
  at->tv_sec = nanoseconds / SECOND;
  at->tv_nsec = nanoseconds % SECOND;
  return 0;
}

int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
