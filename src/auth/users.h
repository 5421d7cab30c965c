/*
 * The users file: who may log in, and how.
 *
 *     # name  role    secrets                                       attributes, if any
 *     bob     device  $argon2id$v=19$m=19456,t=2,p=1$c2Fs…$aGFz…     user_id=17 realm=plant
 *     ann     admin   $scram$pbkdf2$i=100000$… $cryptosign$03a1…
 *
 * One user a line; fields are separated by spaces or tabs; empty lines and lines whose first byte
 * that is no blank is '#' mean nothing. The grammar is strict, since a line that was skipped or
 * read otherwise than it was meant is an open door: the first line that does not fit refuses the
 * whole file, with its number. There is no user without a secret.
 *
 *     name, role   1 to 256 bytes of UTF-8 without blanks and control characters; a name stands
 *                  once
 *     secrets      1 to 8, in the forms of auth/secret.h, each beginning with '$'. Of password,
 *                  wampcra and scram one each; a public key or fingerprint stands once in the file
 *     attributes   up to 16 of key=value, key of [A-Za-z0-9_-], value 1 to 256 bytes without blanks
 *                  and control characters. `realm` selects the realm; `user_id` is what {user_id}
 *                  of a role means (without it: the name); others are for {…} of roles
 *
 * The file is refused if its group or others may write to it.
 *
 * A loaded table is immutable and counted; any thread may read it. A reload makes a new one.
 */
#ifndef PL_AUTH_USERS_H
#define PL_AUTH_USERS_H

#include "auth/secret.h"
#include "base/map.h"
#include "core/identity.h"

enum {
    PL_USER_NAME_MAX = 256,
    PL_USER_ATTRIBUTES_MAX = 16,
    PL_USERS_FILE_MAX = 64 << 20, /* bytes */
    PL_PASSWORD_MAX = 1024,       /* bytes of a password that is no JWT */
    PL_PASSWORD_HASH_MAX = 128,   /* with the terminating zero; libsodium's STRBYTES */
};

struct pl_user {
    struct pl_map_entry entry; /* by name */
    struct pl_bytes name, role;
    const char *hash; /* of the password; terminated. NULL: no password */
    const struct pl_secret *secrets;
    uint32_t secret_count;
    const struct pl_attribute *attributes;
    uint32_t attribute_count;
    uint32_t line; /* where it stands in the file */
};

struct pl_users;

/* What a name, a role or an attribute's value may be. */
bool pl_user_text_is_valid(struct pl_bytes text);

/* path is for diag. PL_CONFIG: diag tells file, line and what was expected. */
PL_MUST_USE enum pl_err pl_users_parse(
    struct pl_bytes text, const char *path, struct pl_diag *diag, struct pl_users **out);
/* PL_IO: not readable; PL_CONFIG: as above, or writable by others. */
PL_MUST_USE enum pl_err pl_users_load(
    const char *path, struct pl_diag *diag, struct pl_users **out);
/* Returns NULL; accepts NULL. */
struct pl_users *pl_users_free(struct pl_users *users);

/* Lives with users; NULL: no such user. users may be NULL. */
const struct pl_user *pl_users_find(const struct pl_users *users, struct pl_bytes name);
size_t pl_users_count(const struct pl_users *users);
/* In the file's order; index < count. */
const struct pl_user *pl_users_at(const struct pl_users *users, size_t index);
/* A user's secret of that kind, the first one; NULL: none. */
const struct pl_secret *pl_user_secret(const struct pl_user *user, enum pl_secret_kind kind);
/* Whose KEY or CERTIFICATE these PL_KEY_LEN bytes are; NULL: nobody's. */
const struct pl_user *pl_users_find_key(const struct pl_users *users, enum pl_secret_kind kind,
    const uint8_t key[PL_KEY_LEN], const struct pl_secret **out_secret);
/* The first secret of that kind in the file: what others look like. NULL: there is none. */
const struct pl_secret *pl_users_example(const struct pl_users *users, enum pl_secret_kind kind);
/* True: others than the owner may read the file: worth one warning. */
bool pl_users_is_exposed(const struct pl_users *users);
/* A hash that costs as much to check as those in the file: for names that are not in it. */
const char *pl_users_dummy_hash(const struct pl_users *users);

/*
 * Password hashes. Making or checking one takes tens of milliseconds and 19 MiB for its time, on
 * purpose: never on a reactor.
 */
PL_MUST_USE enum pl_err pl_password_hash(
    struct pl_bytes password, char out_hash[PL_PASSWORD_HASH_MAX]);
bool pl_password_matches(const char *hash, struct pl_bytes password);
/* Names a secret without telling it: a session remembers by which one it came in. Terminated.
 * Quick. */
enum { PL_PASSWORD_FINGERPRINT_LEN = 16 };
void pl_password_fingerprint(struct pl_bytes secret, char out[PL_PASSWORD_FINGERPRINT_LEN + 1]);

/*
 * Changing the file (`parley user`): comments, order and the lines of others stay. The new file is
 * written beside the old one with mode 0600, synced and renamed over it, so a reader sees the old
 * or the new one, whole. Two editors at a time are kept apart by a lock on `path`.lock.
 */
struct pl_user_edit {
    struct pl_bytes name;
    const char *secrets;  /* fields with blanks between; NULL: as they were. They take the place of
                             those of their kind; where one of them comes from a password, of all
                             that do */
    struct pl_bytes role; /* empty: as it was */
    const struct pl_attribute *attributes; /* new users only */
    uint32_t attribute_count;
};

/* PL_EXISTS: the name is taken. Makes the file if there is none. */
PL_MUST_USE enum pl_err pl_users_file_add(
    const char *path, const struct pl_user_edit *edit, struct pl_diag *diag);
/* PL_NOT_FOUND: no such user. */
PL_MUST_USE enum pl_err pl_users_file_change(
    const char *path, const struct pl_user_edit *edit, struct pl_diag *diag);
PL_MUST_USE enum pl_err pl_users_file_remove(
    const char *path, struct pl_bytes name, struct pl_diag *diag);

#endif
