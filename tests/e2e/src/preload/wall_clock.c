/*
 * Moves the wall clock of one process, for LD_PRELOAD: what the system says is shifted by the nanoseconds in the file that
 * WALL_CLOCK_SHIFT names, a signed 64-bit number that may change at any time.
 *
 * Monotonic clocks, and sleeps by them, are left alone: durations have to be right while the date is wrong. Waits until a date are
 * shifted back, or a process that reads its clock and adds a second would wait for years. Deliberately not here: times of files,
 * timers of the kernel by wall time, and system calls that are not made through the C library.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
/* Monotonic clocks begin at the boot: what is later than this is a date. */
#define FIRST_DATE 1000000000LL

static volatile const int64_t *shift;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("WALL_CLOCK_SHIFT");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
        perror("WALL_CLOCK_SHIFT");
        abort();
    }
    close(file);
    shift = mapped;
}

static struct timespec moved(struct timespec at, int64_t by) {
    int64_t seconds = by / SECOND, rest = at.tv_nsec + by % SECOND;
    if (rest < 0) {
        rest += SECOND;
        seconds -= 1;
    } else if (rest >= SECOND) {
        rest -= SECOND;
        seconds += 1;
    }
    return (struct timespec){.tv_sec = at.tv_sec + seconds, .tv_nsec = rest};
}

/* As the kernel counts a date of this process. */
static struct timespec true_date(const struct timespec *at) {
    return at->tv_sec > FIRST_DATE ? moved(*at, -*shift) : *at;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    /* Another library may ask before this one begins. */
    if (!real_clock_gettime)
        real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real_clock_gettime(clock, at);
    if (result == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        *at = moved(*at, *shift);
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    *at = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, at) == 0 ? base : 0;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    struct timespec at = true_date(until);
    return real(condition, mutex, &at);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    static int (*real)(pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");
    struct timespec at = true_date(until);
    return real(mutex, &at);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    static int (*real)(sem_t *, const struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "sem_timedwait");
    struct timespec at = true_date(until);
    return real(semaphore, &at);
}
