#include "auth/users.h"

#include <sys/stat.h>

#include "base/file.h"
#include "auth/proof.h"
#include "base/alloc.h"
#include "base/arena.h"
#include "base/text.h"

struct pl_users {
    struct pl_map by_name;
    struct pl_map by_key[2]; /* secrets: KEY, CERTIFICATE */
    const struct pl_secret *examples[PL_SECRET_KINDS];
    struct pl_arena memory; /* of attributes and secrets */
    struct pl_user *users;  /* owned array; in the file's order */
    size_t count;
    char *text; /* owned copy of the file; names and hashes lie in it */
    bool is_exposed;
};

/* One field of a line at a time, and where the line stands, for messages. */
struct line {
    const char *path;
    uint32_t number;
    struct pl_bytes rest;
    struct pl_diag *diag;
};

static enum pl_err refuse_line(const struct line *line, const char *why)
{
    pl_diag_set(line->diag, 0, "%s:%u: %s", line->path, line->number, why);
    return PL_CONFIG;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Empty: the line has no more fields. */
static struct pl_bytes next_field(struct line *line)
{
    size_t at = 0;
    while (at < line->rest.len && is_blank(line->rest.data[at]))
        at++;
    size_t begin = at;
    while (at < line->rest.len && !is_blank(line->rest.data[at]))
        at++;
    struct pl_bytes field = pl_bytes_of(line->rest.data + begin, at - begin);
    line->rest = pl_bytes_from(line->rest, at);
    return field;
}

bool pl_user_text_is_valid(struct pl_bytes text)
{
    if (text.len == 0 || text.len > PL_USER_NAME_MAX)
        return false;
    for (size_t at = 0; at < text.len;) {
        uint32_t code;
        size_t len = pl_utf8_next(pl_bytes_from(text, at), &code);
        if (len == 0 || code <= ' ' || (code >= 0x7f && code <= 0xa0) || code == 0x2028 ||
            code == 0x2029)
            return false;
        at += len;
    }
    return true;
}

static bool is_key(struct pl_bytes text)
{
    if (text.len == 0 || text.len > PL_USER_NAME_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
    }
    return true;
}

/* Takes `head` off the front. */
static bool take_text(struct pl_bytes *in, struct pl_bytes head)
{
    if (!pl_bytes_starts(*in, head))
        return false;
    *in = pl_bytes_from(*in, head.len);
    return true;
}

static bool take_number(struct pl_bytes *in, uint64_t min, uint64_t max)
{
    size_t len = 0;
    while (len < in->len && in->data[len] >= '0' && in->data[len] <= '9')
        len++;
    uint64_t value;
    if (len == 0 || (in->data[0] == '0' && len > 1) ||
        pl_parse_decimal(pl_bytes_of(in->data, len), max, &value) != PL_OK || value < min)
        return false;
    *in = pl_bytes_from(*in, len);
    return true;
}

static bool take_base64(struct pl_bytes *in, size_t min, size_t max)
{
    size_t len = 0;
    while (len < in->len) {
        uint8_t c = in->data[len];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && !(c >= '0' && c <= '9') && c != '+' && c != '/')
            break;
        len++;
    }
    if (len < min || len > max)
        return false;
    *in = pl_bytes_from(*in, len);
    return true;
}

/*
 * libsodium would refuse at the login what is no hash of its own; we refuse at the start. Memory up
 * to 1 GiB and 64 passes: what a typing error could ask for beyond that would stop every login.
 */
bool pl_password_hash_is_valid(struct pl_bytes hash)
{
    struct pl_bytes in = hash;
    return hash.len < PL_PASSWORD_HASH_MAX && take_text(&in, PL_BYTES("$argon2id$v=19$m=")) &&
           take_number(&in, 8, 1 << 20) && take_text(&in, PL_BYTES(",t=")) &&
           take_number(&in, 1, 64) && take_text(&in, PL_BYTES(",p=1$")) &&
           take_base64(&in, 11, 64) && take_text(&in, PL_BYTES("$")) && take_base64(&in, 22, 86) &&
           in.len == 0;
}

/* key=value fields, the first of which is given, until the end of the line. */
static enum pl_err read_attributes(
    struct line *line, struct pl_bytes field, struct pl_arena *memory, struct pl_user *user)
{
    struct pl_attribute found[PL_USER_ATTRIBUTES_MAX];
    uint32_t count = 0;
    for (; field.len > 0; field = next_field(line)) {
        if (count == PL_USER_ATTRIBUTES_MAX)
            return refuse_line(line, "more than 16 attributes");
        const uint8_t *equals = memchr(field.data, '=', field.len);
        if (!equals)
            return refuse_line(line, "expected key=value behind the secrets");
        struct pl_attribute attribute = {
            .name = pl_bytes_of(field.data, (size_t)(equals - field.data)),
            .value = pl_bytes_from(field, (size_t)(equals - field.data) + 1),
        };
        if (!is_key(attribute.name))
            return refuse_line(line, "an attribute's name is of A-Z a-z 0-9 _ -");
        if (!pl_user_text_is_valid(attribute.value))
            return refuse_line(
                line, "an attribute's value is 1 to 256 bytes of UTF-8 without control characters");
        for (uint32_t i = 0; i < count; i++) {
            if (pl_bytes_equal(found[i].name, attribute.name))
                return refuse_line(line, "the same attribute twice");
        }
        found[count++] = attribute;
    }
    if (count == 0)
        return PL_OK;
    struct pl_attribute *kept = pl_arena_alloc(memory, count * sizeof(*kept));
    if (!kept)
        return PL_NO_MEMORY;
    memcpy(kept, found, count * sizeof(*kept));
    user->attributes = kept;
    user->attribute_count = count;
    return PL_OK;
}

static struct pl_map *keys_of(struct pl_users *users, enum pl_secret_kind kind)
{
    return &users->by_key[kind == PL_SECRET_CERTIFICATE];
}

/* A key is one user's; a password, and what is made of it, stands once. */
static enum pl_err add_secret(struct line *line, struct pl_users *users, struct pl_user *user,
    const struct pl_secret *all, struct pl_secret *secret)
{
    enum pl_secret_kind kind = (enum pl_secret_kind)secret->kind;
    secret->owner = user;
    for (const struct pl_secret *s = all; s < secret && kind < PL_SECRET_KEY; s++) {
        if (s->kind == kind)
            return refuse_line(line, "two secrets of the same kind");
    }
    if (!users->examples[kind])
        users->examples[kind] = secret;
    if (kind < PL_SECRET_KEY || secret->is_by_name)
        return PL_OK;
    struct pl_bytes key = pl_bytes_of(secret->bytes, sizeof secret->bytes);
    if (pl_map_find(keys_of(users, kind), key))
        return refuse_line(line, "this key stands in the file twice");
    return pl_map_add(keys_of(users, kind), &secret->entry, key);
}

/* Fields that begin with '$'. *out_next: the one behind them. */
static enum pl_err read_secrets(
    struct line *line, struct pl_users *users, struct pl_user *user, struct pl_bytes *out_next)
{
    struct pl_bytes fields[PL_SECRETS_MAX], field = next_field(line);
    uint32_t count = 0;
    for (; field.len && field.data[0] == '$'; field = next_field(line)) {
        if (count == PL_SECRETS_MAX)
            return refuse_line(line, "more than 8 secrets");
        fields[count++] = field;
    }
    struct pl_secret *secrets = pl_arena_zalloc(&users->memory, (count + 1) * sizeof *secrets);
    if (!secrets)
        return PL_NO_MEMORY;
    enum pl_err err = count ? PL_OK : PL_MALFORMED;
    for (uint32_t i = 0; i < count && !err; i++) {
        err = pl_secret_parse(fields[i], &users->memory, &secrets[i]);
        if (!err)
            err = add_secret(line, users, user, secrets, &secrets[i]);
        if (!err && secrets[i].kind == PL_SECRET_PASSWORD)
            user->hash = (const char *)fields[i].data;
    }
    if (err == PL_MALFORMED)
        return refuse_line(line, "expected an argon2id hash, or another secret, behind the role; "
                                 "`parley user add` makes one");
    user->secrets = secrets;
    user->secret_count = count;
    *out_next = field;
    return err;
}

/* The line's last byte is followed by a byte of ours that may be overwritten. */
static enum pl_err read_user(struct line *line, struct pl_users *users, struct pl_user *user)
{
    user->line = line->number;
    user->name = next_field(line);
    if (!pl_user_text_is_valid(user->name))
        return refuse_line(line, "a name is 1 to 256 bytes of UTF-8 without control characters");
    user->role = next_field(line);
    if (!pl_user_text_is_valid(user->role))
        return refuse_line(line, "expected a role behind the name");
    struct pl_bytes next;
    enum pl_err err = read_secrets(line, users, user, &next);
    if (!err)
        err = read_attributes(line, next, &users->memory, user);
    if (err)
        return err;
    const struct pl_secret *password = pl_user_secret(user, PL_SECRET_PASSWORD);
    if (password)
        users->text[(password->text.data + password->text.len) - (const uint8_t *)users->text] = 0;
    if (pl_map_find(&users->by_name, user->name))
        return refuse_line(line, "this user stands in the file twice");
    return pl_map_add(&users->by_name, &user->entry, user->name);
}

static bool is_for_people(struct pl_bytes line)
{
    size_t at = 0;
    while (at < line.len && is_blank(line.data[at]))
        at++;
    return at == line.len || line.data[at] == '#';
}

static size_t line_len(struct pl_bytes text)
{
    const uint8_t *end = memchr(text.data, '\n', text.len);
    return end ? (size_t)(end - text.data) : text.len;
}

static size_t count_users(struct pl_bytes text)
{
    size_t count = 0;
    while (text.len > 0) {
        size_t len = line_len(text);
        count += !is_for_people(pl_bytes_of(text.data, len));
        text = pl_bytes_from(text, len + (len < text.len));
    }
    return count;
}

static enum pl_err read_lines(
    struct pl_users *users, size_t text_len, const char *path, struct pl_diag *diag)
{
    struct pl_bytes text = pl_bytes_of(users->text, text_len);
    struct line line = {.path = path, .diag = diag};
    while (text.len > 0) {
        size_t len = line_len(text);
        line.number++;
        line.rest = pl_bytes_of(text.data, len);
        if (!is_for_people(line.rest)) {
            enum pl_err err = read_user(&line, users, &users->users[users->count]);
            if (err != PL_OK)
                return err;
            users->count++;
        }
        text = pl_bytes_from(text, len + (len < text.len));
    }
    return PL_OK;
}

enum pl_err pl_users_parse(
    struct pl_bytes text, const char *path, struct pl_diag *diag, struct pl_users **out)
{
    if (text.len > PL_USERS_FILE_MAX) {
        pl_diag_set(diag, 0, "%s: larger than %d bytes", path, PL_USERS_FILE_MAX);
        return PL_CONFIG;
    }
    enum pl_err err = PL_NO_MEMORY;
    struct pl_users *users = pl_zalloc(sizeof(*users));
    if (!users)
        goto fail;
    /* The file is the operator's: nobody chooses names so that they collide. */
    pl_map_init(&users->by_name, 0x9e3779b97f4a7c15u);
    pl_map_init(&users->by_key[0], 0x9e3779b97f4a7c15u);
    pl_map_init(&users->by_key[1], 0x9e3779b97f4a7c15u);
    size_t count = count_users(text);
    users->text = pl_alloc_copy(text.data, text.len);
    users->users = pl_zalloc((count ? count : 1) * sizeof(*users->users));
    if (!users->text || !users->users)
        goto fail;
    err = read_lines(users, text.len, path, diag);
    if (err != PL_OK)
        goto fail;
    *out = users;
    return PL_OK;
fail:
    pl_users_free(users);
    if (err == PL_NO_MEMORY)
        pl_diag_set(diag, 0, "%s: %s", path, pl_err_text(err));
    return err;
}

enum pl_err pl_users_load(const char *path, struct pl_diag *diag, struct pl_users **out)
{
    char *text = NULL;
    size_t len;
    struct pl_file_facts facts;
    enum pl_err err = pl_file_read(path, PL_USERS_FILE_MAX, diag, &text, &len, &facts);
    if (err != PL_OK)
        return err;
    if (facts.mode & (S_IWGRP | S_IWOTH)) {
        pl_diag_set(diag, 0, "%s: others than its owner may write to it; chmod 600 it", path);
        err = PL_CONFIG;
    }
    struct pl_users *users = NULL;
    if (err == PL_OK)
        err = pl_users_parse(pl_bytes_of(text, len), path, diag, &users);
    pl_free(text);
    if (err != PL_OK)
        return err;
    users->is_exposed = (facts.mode & S_IROTH) != 0;
    *out = users;
    return PL_OK;
}

struct pl_users *pl_users_free(struct pl_users *users)
{
    if (!users)
        return NULL;
    pl_map_done(&users->by_name);
    pl_map_done(&users->by_key[0]);
    pl_map_done(&users->by_key[1]);
    pl_arena_done(&users->memory);
    pl_free(users->users);
    pl_free(users->text);
    pl_free(users);
    return NULL;
}

const struct pl_user *pl_users_find(const struct pl_users *users, struct pl_bytes name)
{
    struct pl_map_entry *entry = users ? pl_map_find(&users->by_name, name) : NULL;
    return entry ? PL_CONTAINER(entry, struct pl_user, entry) : NULL;
}

const struct pl_secret *pl_user_secret(const struct pl_user *user, enum pl_secret_kind kind)
{
    for (uint32_t i = 0; i < user->secret_count; i++)
        if (user->secrets[i].kind == kind)
            return &user->secrets[i];
    return NULL;
}

const struct pl_user *pl_users_find_key(const struct pl_users *users, enum pl_secret_kind kind,
    const uint8_t key[PL_KEY_LEN], const struct pl_secret **out_secret)
{
    struct pl_bytes bytes = pl_bytes_of(key, PL_KEY_LEN);
    struct pl_map_entry *entry =
        users ? pl_map_find(&users->by_key[kind == PL_SECRET_CERTIFICATE], bytes) : NULL;
    if (!entry)
        return NULL;
    *out_secret = PL_CONTAINER(entry, struct pl_secret, entry);
    return (*out_secret)->owner;
}

const struct pl_secret *pl_users_example(const struct pl_users *users, enum pl_secret_kind kind)
{
    return users ? users->examples[kind] : NULL;
}

size_t pl_users_count(const struct pl_users *users)
{
    return users ? users->count : 0;
}

const struct pl_user *pl_users_at(const struct pl_users *users, size_t index)
{
    return &users->users[index];
}

bool pl_users_is_exposed(const struct pl_users *users)
{
    return users && users->is_exposed;
}
