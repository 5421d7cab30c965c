/*
 * Changing the users file: one line of it, all others byte for byte as they were.
 *
 *     lock → read and check the whole → new text → check that too → replace
 *
 * Both checks are the loader's own, so this never writes what the server would refuse, and never
 * repairs by accident what somebody else has to look at.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "auth/users.h"
#include "base/alloc.h"

/* The file as it is, while nobody else changes it. */
struct open_file {
    char *path; /* owned; links are followed, so that the file is replaced and not its link */
    int lock;   /* -1: none */
    bool is_new;
    struct pl_file_facts facts;
    char *text; /* owned */
    size_t len;
    struct pl_users *users;
};

static void close_file(struct open_file *file)
{
    pl_users_free(file->users);
    pl_free(file->text);
    pl_free(file->path);
    /* The lock file stays: who removes it could let in two who hold different ones. */
    if (file->lock >= 0)
        close(file->lock);
}

/* A copy of ours of the path that links lead to; of path itself if there is no such file yet. */
static char *resolve(const char *path)
{
    char *real = realpath(path, NULL);
    char *copy = pl_alloc_copy(real ? real : path, strlen(real ? real : path));
    free(real); /* the C library's own, not ours */
    return copy;
}

static int take_lock(const char *path)
{
    size_t len = strlen(path);
    char *name = pl_alloc(len + sizeof(".lock"));
    if (!name) {
        errno = ENOMEM;
        return -1;
    }
    memcpy(name, path, len);
    memcpy(name + len, ".lock", sizeof(".lock"));
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    pl_free(name);
    if (fd >= 0 && flock(fd, LOCK_EX) < 0) {
        int code = errno;
        close(fd);
        errno = code;
        return -1;
    }
    return fd;
}

static enum pl_err open_file(const char *path, struct pl_diag *diag, struct open_file *file)
{
    *file = (struct open_file){.lock = -1, .path = resolve(path)};
    if (!file->path) {
        pl_diag_set(diag, 0, "%s: %s", path, pl_err_text(PL_NO_MEMORY));
        return PL_NO_MEMORY;
    }
    file->lock = take_lock(file->path);
    if (file->lock < 0) {
        char text[128];
        int code = errno;
        pl_diag_set(diag, code, "%s.lock: %s", path, strerror_r(code, text, sizeof(text)));
        return PL_IO;
    }
    enum pl_err err =
        pl_file_read(file->path, PL_USERS_FILE_MAX, diag, &file->text, &file->len, &file->facts);
    file->is_new = err == PL_NOT_FOUND;
    if (err != PL_OK && err != PL_NOT_FOUND)
        return err;
    return pl_users_parse(pl_bytes_of(file->text, file->len), path, diag, &file->users);
}

static const unsigned OF_PASSWORDS =
    1u << PL_SECRET_PASSWORD | 1u << PL_SECRET_CRA | 1u << PL_SECRET_SCRAM;

/* The kinds that an edit's secrets take the place of, as bits. */
static unsigned kinds_of(const char *secrets)
{
    struct pl_arena memory = {0};
    struct pl_secret secret;
    unsigned kinds = 0;
    for (const char *at = secrets; at && *at;) {
        size_t len = strcspn(at, " ");
        if (!pl_secret_parse(pl_bytes_of(at, len), &memory, &secret))
            kinds |= 1u << secret.kind;
        at += len + (at[len] == ' ');
    }
    pl_arena_done(&memory);
    return kinds & OF_PASSWORDS ? kinds | OF_PASSWORDS : kinds;
}

/* Of old, which may be NULL, the secrets that stay; then the edit's. */
static void print_secrets(FILE *to, const struct pl_user *old, const char *secrets)
{
    unsigned replaced = kinds_of(secrets);
    for (uint32_t i = 0; old && i < old->secret_count; i++) {
        struct pl_bytes text = old->secrets[i].text;
        if (!(replaced & 1u << old->secrets[i].kind))
            fprintf(to, " %.*s", (int)text.len, text.data);
    }
    if (secrets)
        fprintf(to, " %s", secrets);
}

static void print_line(FILE *to, struct pl_bytes name, struct pl_bytes role,
    const struct pl_user *old, const char *secrets, const struct pl_attribute *attributes,
    uint32_t count)
{
    fprintf(to, "%.*s %.*s", (int)name.len, name.data, (int)role.len, role.data);
    print_secrets(to, old, secrets);
    for (uint32_t i = 0; i < count; i++) {
        const struct pl_attribute *a = &attributes[i];
        fprintf(to, " %.*s=%.*s", (int)a->name.len, a->name.data, (int)a->value.len, a->value.data);
    }
    fputc('\n', to);
}

/* Bytes before line `number` (1 is the first), and of that line with its end. */
static void find_line(
    const struct open_file *file, uint32_t number, size_t *out_at, size_t *out_len)
{
    size_t at = 0;
    const char *end = memchr(file->text, '\n', file->len);
    for (uint32_t i = 1; i < number && end; i++) {
        at = (size_t)(end - file->text) + 1;
        end = memchr(file->text + at, '\n', file->len - at);
    }
    *out_at = at;
    *out_len = (end ? (size_t)(end - file->text) + 1 : file->len) - at;
}

static enum pl_err write_checked(
    const struct open_file *file, const char *text, size_t len, struct pl_diag *diag)
{
    struct pl_users *checked;
    enum pl_err err = pl_users_parse(pl_bytes_of(text, len), "new line", diag, &checked);
    if (err != PL_OK)
        return err;
    pl_users_free(checked);
    return pl_file_replace(
        file->path, pl_bytes_of(text, len), file->is_new ? NULL : &file->facts, diag);
}

enum edit_kind { EDIT_ADD, EDIT_CHANGE, EDIT_REMOVE };

static void print_edited(FILE *to, const struct open_file *file, enum edit_kind kind,
    const struct pl_user *old, const struct pl_user_edit *edit)
{
    size_t at = file->len, len = 0;
    if (old)
        find_line(file, old->line, &at, &len);
    if (at > 0)
        fwrite(file->text, 1, at, to);
    if (kind == EDIT_ADD) {
        if (at > 0 && file->text[at - 1] != '\n')
            fputc('\n', to);
        print_line(to, edit->name, edit->role, NULL, edit->secrets, edit->attributes,
            edit->attribute_count);
    } else if (kind == EDIT_CHANGE) {
        print_line(to, old->name, edit->role.len ? edit->role : old->role, old, edit->secrets,
            old->attributes, old->attribute_count);
    }
    if (at + len < file->len)
        fwrite(file->text + at + len, 1, file->len - at - len, to);
}

static enum pl_err edit_file(
    const char *path, enum edit_kind kind, const struct pl_user_edit *edit, struct pl_diag *diag)
{
    char *text = NULL; /* the C library's */
    size_t len = 0;
    struct open_file file;
    enum pl_err err = open_file(path, diag, &file);
    if (err != PL_OK)
        goto done;
    if (kind == EDIT_ADD &&
        (edit->name.len == 0 || edit->name.data[0] == '#' || !pl_user_text_is_valid(edit->name) ||
            !pl_user_text_is_valid(edit->role))) {
        pl_diag_set(diag, 0,
            "a name or role is 1 to %d bytes of UTF-8 without blanks and control "
            "characters, and a name begins with no #",
            PL_USER_NAME_MAX);
        err = PL_CONFIG;
        goto done;
    }
    const struct pl_user *old = pl_users_find(file.users, edit->name);
    if ((kind == EDIT_ADD) == (old != NULL)) {
        pl_diag_set(diag, 0, "%s: %s user of that name", path, old ? "there is already a" : "no");
        err = old ? PL_EXISTS : PL_NOT_FOUND;
        goto done;
    }
    FILE *to = open_memstream(&text, &len);
    if (!to) {
        err = PL_NO_MEMORY;
        goto done;
    }
    print_edited(to, &file, kind, old, edit);
    bool failed = ferror(to);
    err = fclose(to) != 0 || failed ? PL_NO_MEMORY : write_checked(&file, text, len, diag);
done:
    if (err == PL_NO_MEMORY)
        pl_diag_set(diag, 0, "%s: %s", path, pl_err_text(err));
    free(text);
    close_file(&file);
    return err;
}

enum pl_err pl_users_file_add(
    const char *path, const struct pl_user_edit *edit, struct pl_diag *diag)
{
    return edit_file(path, EDIT_ADD, edit, diag);
}

enum pl_err pl_users_file_change(
    const char *path, const struct pl_user_edit *edit, struct pl_diag *diag)
{
    return edit_file(path, EDIT_CHANGE, edit, diag);
}

enum pl_err pl_users_file_remove(const char *path, struct pl_bytes name, struct pl_diag *diag)
{
    return edit_file(path, EDIT_REMOVE, &(struct pl_user_edit){.name = name}, diag);
}
