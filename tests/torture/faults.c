/* Lets one kind of call fail for files below a folder, as a disk would: preloaded before libc.
   KLANG_FAULT_CALL  fsync, write or open (to write)
   KLANG_FAULT_UNDER the folder
   KLANG_FAULT_AT    the first call that fails, from 1
   KLANG_FAULT_LAST  the last one that fails; none: all after it
   KLANG_FAULT_ERRNO the error's number
   KLANG_FAULT_MARK  a file that is made once a call has failed */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long calls;

static long setting(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value ? atol(value) : otherwise;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void mark(void) {
    const char *path = getenv("KLANG_FAULT_MARK");
    int file = path ? NEXT(open)(path, O_WRONLY | O_CREAT, 0644) : -1;
    if (file >= 0) close(file);
}

static int is_ours(const char *path) {
    const char *under = getenv("KLANG_FAULT_UNDER");
    return under && strncmp(path, under, strlen(under)) == 0;
}

static int fails(const char *call, const char *path) {
    const char *chosen = getenv("KLANG_FAULT_CALL");
    if (!chosen || strcmp(chosen, call) || !is_ours(path)) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (number < setting("KLANG_FAULT_AT", 1) || number > setting("KLANG_FAULT_LAST", number)) return 0;
    mark();
    errno = (int)setting("KLANG_FAULT_ERRNO", EIO);
    return 1;
}

static const char *path_of(int file, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

int fsync(int file) {
    char path[4096];
    if (fails("fsync", path_of(file, path, sizeof path))) return -1;
    return NEXT(fsync)(file);
}

ssize_t write(int file, const void *bytes, size_t count) {
    char path[4096];
    if (fails("write", path_of(file, path, sizeof path))) return -1;
    return NEXT(write)(file, bytes, count);
}

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        mode_t mode = va_arg(rest, mode_t);                                     \
        va_end(rest);                                                           \
        if ((flags & O_ACCMODE) != O_RDONLY && fails("open", path)) return -1;  \
        return NEXT(name)(path, flags, mode);                                   \
    }

OPEN(open)
OPEN(open64)
