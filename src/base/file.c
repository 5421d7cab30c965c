#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

static enum pl_err tell(struct pl_diag *diag, const char *path)
{
    int code = errno;
    char text[128];
    pl_diag_set(diag, code, "%s: %s", path, strerror_r(code, text, sizeof(text)));
    return code == ENOENT ? PL_NOT_FOUND : PL_IO;
}

/* From a descriptor at its start; stops at the end or at cap bytes. */
static enum pl_err read_all(int fd, char *text, size_t cap, size_t *out_len)
{
    size_t len = 0;
    while (len < cap) {
        ssize_t n = read(fd, text + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return PL_IO;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *out_len = len;
    return PL_OK;
}

enum pl_err pl_file_read(const char *path, size_t size_max, struct pl_diag *diag, char **out_text,
    size_t *out_len, struct pl_file_facts *out_facts)
{
    char *text = NULL;
    /* Not to wait for the other end of a pipe that stands where a file should. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tell(diag, path);
    enum pl_err err = PL_OK;
    struct stat facts;
    if (fstat(fd, &facts) < 0) {
        err = tell(diag, path);
        goto fail;
    }
    if (!S_ISREG(facts.st_mode) || facts.st_size < 0 || (uint64_t)facts.st_size > size_max) {
        pl_diag_set(diag, 0, "%s: expected a file of at most %zu bytes", path, size_max);
        err = PL_CONFIG;
        goto fail;
    }
    size_t cap = (size_t)facts.st_size, len = 0;
    text = pl_alloc(cap + 1);
    if (!text) {
        pl_diag_set(diag, 0, "%s: %s", path, pl_err_text(PL_NO_MEMORY));
        err = PL_NO_MEMORY;
        goto fail;
    }
    if (read_all(fd, text, cap, &len) != PL_OK) {
        err = tell(diag, path);
        goto fail;
    }
    text[len] = 0;
    close(fd);
    *out_text = text;
    *out_len = len;
    if (out_facts)
        *out_facts = (struct pl_file_facts){facts.st_mode, facts.st_uid, facts.st_gid};
    return PL_OK;
fail:
    close(fd);
    pl_free(text);
    return err;
}

static int write_all(int fd, struct pl_bytes text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        text = pl_bytes_from(text, (size_t)n);
    }
    return 0;
}

/* The new name is on disk only when its folder is. */
static int sync_folder(const char *path)
{
    char *copy = pl_alloc_copy(path, strlen(path));
    if (!copy) {
        errno = ENOMEM;
        return -1;
    }
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pl_free(copy);
    if (fd < 0)
        return -1;
    int failed = fsync(fd);
    int code = errno;
    close(fd);
    errno = code;
    return failed;
}

enum pl_err pl_file_replace(
    const char *path, struct pl_bytes text, const struct pl_file_facts *owner, struct pl_diag *diag)
{
    size_t path_len = strlen(path);
    char *beside = pl_alloc(path_len + sizeof(".XXXXXX"));
    if (!beside) {
        pl_diag_set(diag, 0, "%s: %s", path, pl_err_text(PL_NO_MEMORY));
        return PL_NO_MEMORY;
    }
    memcpy(beside, path, path_len);
    memcpy(beside + path_len, ".XXXXXX", sizeof(".XXXXXX"));

    int fd = mkostemp(beside, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        enum pl_err err = tell(diag, beside);
        pl_free(beside);
        return err == PL_NOT_FOUND ? PL_IO : err;
    }
    bool ok = write_all(fd, text) == 0;
    if (ok && owner && (owner->uid != geteuid() || owner->gid != getegid()))
        ok = fchown(fd, owner->uid, owner->gid) == 0;
    ok = ok && fsync(fd) == 0;
    enum pl_err err = ok ? PL_OK : tell(diag, beside);
    close(fd);
    if (err == PL_OK && rename(beside, path) < 0)
        err = tell(diag, path);
    if (err != PL_OK)
        unlink(beside);
    else if (sync_folder(path) < 0)
        err = tell(diag, path);
    pl_free(beside);
    return err == PL_NOT_FOUND ? PL_IO : err;
}

enum pl_err pl_file_make_folders(const char *path, struct pl_diag *diag)
{
    char *part = pl_alloc_copy(path, strlen(path));
    if (!part)
        return PL_NO_MEMORY;
    enum pl_err err = PL_OK;
    for (char *slash = part; !err && slash[0] && (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            err = tell(diag, part);
        *slash = '/';
    }
    pl_free(part);
    return err == PL_NOT_FOUND ? PL_IO : err;
}
