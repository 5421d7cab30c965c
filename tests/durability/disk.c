/*
 * A disk that can lose its power: preloaded into a server, it notes what is written to files and
 * when they are synced, so that the test can make what a disk would hold that kept nothing else.
 *
 *     DISK_JOURNAL=file     each write, cut and sync as struct note, and the bytes written
 *     DISK_GATE=fifo        a sync writes a byte there, and waits for one from fifo.open
 *
 * A write is noted before it is done, a sync after.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NOTE_WRITE = 1, NOTE_CUT, NOTE_SYNC };

struct note {
    uint32_t kind, len;
    uint64_t inode, offset;
};

typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef int (*cut_fn)(int, off_t);
typedef int (*sync_fn)(int);

/* dlsym gives an object pointer; C wants it said that it is a function's. */
#define NEXT(type, name)                                                                           \
    type next;                                                                                     \
    do {                                                                                           \
        void *symbol = dlsym(RTLD_NEXT, name);                                                     \
        memcpy(&next, &symbol, sizeof next);                                                       \
    } while (0)

static int journal = -1;
static const char *gate;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("DISK_JOURNAL");
    if (name)
        journal = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    gate = getenv("DISK_GATE");
}

static void note(enum kind kind, int fd, const void *bytes, size_t len, off_t offset)
{
    struct stat stat;
    if (journal < 0 || fstat(fd, &stat) || !S_ISREG(stat.st_mode))
        return;
    struct note head = {kind, (uint32_t)len, stat.st_ino, (uint64_t)offset};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)bytes, bytes ? len : 0}};
    if (writev(journal, parts, 2) < 0)
        abort();
}

static void pass_gate(void)
{
    char name[512], byte = '.';
    if (!gate)
        return;
    (void)snprintf(name, sizeof name, "%s.open", gate);
    int out = open(gate, O_WRONLY | O_CLOEXEC), in = open(name, O_RDONLY | O_CLOEXEC);
    if (out >= 0 && in >= 0 && write(out, &byte, 1) == 1)
        (void)!read(in, &byte, 1);
    close(out);
    close(in);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    NEXT(write_fn, "write");
    off_t at = journal >= 0 ? lseek(fd, 0, SEEK_CUR) : -1;
    if (at >= 0)
        note(NOTE_WRITE, fd, bytes, len, at);
    return next(fd, bytes, len);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    NEXT(pwrite_fn, "pwrite");
    note(NOTE_WRITE, fd, bytes, len, offset);
    return next(fd, bytes, len, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset)
{
    return pwrite(fd, bytes, len, offset);
}

int ftruncate(int fd, off_t len)
{
    NEXT(cut_fn, "ftruncate");
    note(NOTE_CUT, fd, NULL, 0, len);
    return next(fd, len);
}

int ftruncate64(int fd, off_t len)
{
    return ftruncate(fd, len);
}

int fsync(int fd)
{
    NEXT(sync_fn, "fsync");
    pass_gate();
    int result = next(fd);
    note(NOTE_SYNC, fd, NULL, 0, 0);
    return result;
}

int fdatasync(int fd)
{
    NEXT(sync_fn, "fdatasync");
    pass_gate();
    int result = next(fd);
    note(NOTE_SYNC, fd, NULL, 0, 0);
    return result;
}
