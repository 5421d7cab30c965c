#include "web/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SEGMENT_MAX = 255, TRIES = 8 };

static enum pl_err open_err(int number)
{
    switch (number) {
    case EMFILE:
    case ENFILE:
        return PL_LIMIT;
    case ENOMEM:
        return PL_NO_MEMORY;
    case EIO:
        return PL_IO;
    default:
        return PL_NOT_FOUND;
    }
}

/* Segment by segment, each without following links. */
static int open_steps(int folder, const char *name, int flags)
{
    int at = folder, fd = -1;
    while (at >= 0) {
        char segment[SEGMENT_MAX + 1];
        size_t len = strcspn(name, "/");
        if (len > SEGMENT_MAX || (len == 2 && name[0] == '.' && name[1] == '.')) {
            errno = ENOENT;
            break;
        }
        memcpy(segment, name, len);
        segment[len] = '\0';
        bool is_last = !name[len];
        fd = openat(at, len ? segment : ".",
            O_CLOEXEC | O_NOFOLLOW | (is_last ? flags : O_PATH | O_DIRECTORY));
        if (is_last || fd < 0)
            break;
        if (at != folder)
            close(at);
        at = fd;
        fd = -1;
        name += len + 1;
    }
    int number = errno;
    if (at != folder && at >= 0)
        close(at);
    errno = number;
    return fd;
}

enum pl_err pl_web_open_by_steps(int folder, const char *name, int flags, int *out_fd)
{
    int fd = open_steps(folder, name, flags);
    if (fd < 0)
        return open_err(errno);
    *out_fd = fd;
    return PL_OK;
}

enum pl_err pl_web_open_beneath(int folder, const char *name, int flags, int *out_fd)
{
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int fd = -1;
    /* EAGAIN: something was renamed meanwhile, so the kernel could not be sure. */
    for (int i = 0; i < TRIES; i++) {
        fd = (int)syscall(SYS_openat2, folder, *name ? name : ".", &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return pl_web_open_by_steps(folder, name, flags, out_fd);
    if (fd < 0)
        return open_err(errno);
    *out_fd = fd;
    return PL_OK;
}
