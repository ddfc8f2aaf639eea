/*
 * A disk that fails, for one process, by LD_PRELOAD: the first byte of the file that FAILING_DISK_STATE names says how, and may
 * change at any time. 0: it works. 'w': writes end with EIO. 's': syncs end with EIO, as of a disk that reports what it lost.
 * 'h': syncs hang until the byte changes.
 *
 * Only regular files below the directory FAILING_DISK_PATH are of that disk. Deliberately not here: reads, mapped files, and a disk
 * without space, which a small file system is for.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile const char *state;
static const char *folder;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAILING_DISK_STATE");
    folder = getenv("FAILING_DISK_PATH");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED || !folder) {
        perror("FAILING_DISK_STATE");
        abort();
    }
    close(file);
    state = mapped;
}

/* Whether the disk fails in this way now, and the file is on it. */
static int fails(char how, int file) {
    if (!state || *state != how)
        return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    struct stat found;
    if (length < 0 || fstat(file, &found) != 0 || !S_ISREG(found.st_mode))
        return 0;
    path[length] = 0;
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int broken(void) {
    errno = EIO;
    return -1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        real = dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    return fails('w', file) ? broken() : real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    return fails('w', file) ? broken() : real(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    return fails('w', file) ? broken() : real(file, bytes, count, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    return fails('w', file) ? broken() : real(file, parts, count);
}

static int sync_fails(int file) {
    while (fails('h', file))
        usleep(10000);
    return fails('s', file);
}

int fsync(int file) {
    REAL(int, fsync, int);
    return sync_fails(file) ? broken() : real(file);
}

int fdatasync(int file) {
    REAL(int, fdatasync, int);
    return sync_fails(file) ? broken() : real(file);
}

int sync_file_range(int file, off64_t from, off64_t count, unsigned int flags) {
    REAL(int, sync_file_range, int, off64_t, off64_t, unsigned int);
    return sync_fails(file) ? broken() : real(file, from, count, flags);
}
