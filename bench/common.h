/* What the backend and the load generator share: the clock, the marker of a timed chunk, and giving up. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Every timed chunk carries MARKER, the sender's clock in MARKER_DIGITS decimal digits, and MARKER_END.
   A marker, not JSON: a proxy may encode the chunk anew, and the text still comes through. */
#define MARKER "@t="
#define MARKER_LEN 3
#define MARKER_DIGITS 20
#define MARKER_END '@'

static inline uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static inline void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void *must(void *memory) {
    if (memory == NULL) {
        die("out of memory");
    }
    return memory;
}

static inline void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

#endif
