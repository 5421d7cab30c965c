/*
 * Opening, reading back, ending.
 *
 *     facts    name, value      starts: how often it was opened for serving
 *     groups   ticket, crc, body
 *     states   key, crc, value
 *
 * Ids and tickets begin anew at every start, above all older ones: the start's number is their
 * upper part.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/message_record.h"
#include "store/store_state.h"

enum { APPLICATION_ID = 0x50524c59, START_SHIFT = 38 };

static const char schema[] =
    "BEGIN;"
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE groups (ticket INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL);"
    "CREATE TABLE states (key BLOB PRIMARY KEY, crc INTEGER NOT NULL, value BLOB NOT NULL)"
    " WITHOUT ROWID;"
    "INSERT INTO facts VALUES ('starts', 0);"
    "PRAGMA application_id = 1347570777;"
    "PRAGMA user_version = 1;"
    "COMMIT;";

static const char advice[] =
    "nothing was changed. `parley store check` tells more, `parley store export` saves what can be "
    "read; move the file away to begin anew";

/* What SQLite says of a file that it cannot work with. */
static enum pl_err tell_sql(struct pl_store *store, struct pl_diag *diag)
{
    int code = sqlite3_extended_errcode(store->db);
    const char *why = sqlite3_errmsg(store->db);
    switch (code & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        pl_diag_set(diag, code, "the store %s is damaged (%s): %s", store->file, why, advice);
        return PL_CONFIG;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        pl_diag_set(diag, code,
            "the store %s is in use by another process; another server needs a folder of its own: "
            "--data DIR",
            store->file);
        return PL_EXISTS;
    case SQLITE_NOMEM:
        pl_diag_set(diag, code, "out of memory");
        return PL_NO_MEMORY;
    default:
        pl_diag_set(diag, code, "the store %s cannot be used: %s", store->file, why);
        return PL_IO;
    }
}

static bool run_sql(struct pl_store *store, const char *sql)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* The one number that a statement answers with; -1: it does not. */
static int64_t ask_number(struct pl_store *store, const char *sql)
{
    sqlite3_stmt *s = NULL;
    int64_t number = -1;
    if (sqlite3_prepare_v2(store->db, sql, -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        number = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    return number;
}

/* Beside its place, then moved there: an empty file is never ours. With our mode, not SQLite's. */
static enum pl_err make_file(const char *file, struct pl_diag *diag)
{
    char beside[PATH_MAX];
    struct sqlite3 *db = NULL;
    if (snprintf(beside, sizeof beside, "%s.new", file) >= (int)sizeof beside) {
        pl_diag_set(diag, 0, "the path is too long: %s", file);
        return PL_CONFIG;
    }
    (void)unlink(beside);
    int fd = open(beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int number = errno;
    const char *why = fd < 0 ? strerror(number) : NULL;
    if (fd >= 0)
        (void)close(fd);
    bool ok = fd >= 0 && sqlite3_open_v2(beside, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
              sqlite3_exec(db, schema, NULL, NULL, NULL) == SQLITE_OK;
    if (!ok && db)
        why = sqlite3_errmsg(db);
    if (ok && rename(beside, file) != 0) {
        why = strerror(errno);
        ok = false;
    }
    if (!ok)
        pl_diag_set(diag, 0, "cannot make the store %s: %s", file, why ? why : "out of memory");
    if (db)
        (void)sqlite3_close(db);
    if (!ok)
        (void)unlink(beside);
    return ok ? PL_OK : PL_IO;
}

static enum pl_err find_file(
    const char *file, const struct pl_store_options *options, struct pl_diag *diag)
{
    struct stat about;
    if (stat(file, &about) != 0) {
        if (errno == ENOENT && !options->is_read_only && !options->must_exist)
            return make_file(file, diag);
        pl_diag_set(diag, errno, "cannot open the store %s: %s", file, strerror(errno));
        return PL_IO;
    }
    if (about.st_size == 0) {
        pl_diag_set(diag, 0, "the store %s is damaged (it is empty): %s", file, advice);
        return PL_CONFIG;
    }
    if (!options->is_read_only && access(file, W_OK) != 0) {
        pl_diag_set(diag, errno, "the store %s cannot be written to: %s", file, strerror(errno));
        return PL_IO;
    }
    return PL_OK;
}

static enum pl_err check_kind(struct pl_store *store, struct pl_diag *diag)
{
    int64_t tables = ask_number(store, "SELECT count(*) FROM sqlite_schema");
    if (tables < 0)
        return tell_sql(store, diag);
    int64_t application = ask_number(store, "PRAGMA application_id");
    int64_t version = ask_number(store, "PRAGMA user_version");
    if (application != APPLICATION_ID) {
        pl_diag_set(diag, 0, "%s is no store of Parley; nothing was changed", store->file);
        return PL_CONFIG;
    }
    if (version > PL_STORE_SCHEMA) {
        pl_diag_set(diag, 0,
            "the store %s has version %lld, this Parley knows %d: it was written by a newer one; "
            "nothing was changed",
            store->file, (long long)version, PL_STORE_SCHEMA);
        return PL_CONFIG;
    }
    return PL_OK;
}

enum pl_err pl_store_check_pages(struct pl_store *store, struct pl_diag *diag)
{
    sqlite3_stmt *s = NULL;
    enum pl_err err = PL_OK;
    if (sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW) {
        err = tell_sql(store, diag);
    } else {
        const char *answer = (const char *)sqlite3_column_text(s, 0);
        if (!answer || strcmp(answer, "ok") != 0) {
            pl_diag_set(diag, 0, "the store %s is damaged (%s): %s", store->file,
                answer ? answer : "out of memory", advice);
            err = PL_CONFIG;
        }
    }
    (void)sqlite3_finalize(s);
    return err;
}

static enum pl_err open_db(
    struct pl_store *store, const struct pl_store_options *options, struct pl_diag *diag)
{
    int flags = options->is_read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (sqlite3_open_v2(store->file, &store->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return store->db ? tell_sql(store, diag) : PL_NO_MEMORY;
    /* While we only look, its log is left as it is. */
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (!options->is_read_only && !run_sql(store, "PRAGMA locking_mode = EXCLUSIVE"))
        return tell_sql(store, diag);
    enum pl_err err = check_kind(store, diag);
    if (!err && !options->may_be_damaged)
        err = pl_store_check_pages(store, diag);
    if (err || options->is_read_only)
        return err;
    if (!run_sql(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                        "PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 33554432;"
                        "PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY"))
        return tell_sql(store, diag);
    return PL_OK;
}

enum pl_err pl_store_open(
    const struct pl_store_options *options, struct pl_store **out, struct pl_diag *diag)
{
    struct pl_store *store = pl_zalloc(sizeof *store);
    if (!store)
        return PL_NO_MEMORY;
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    store->groups_end = &store->groups;
    store->pending_bytes_max = options->pending_bytes_max;
    store->may_be_damaged = options->may_be_damaged;
    pl_store_init_journal(store);
    store->file = pl_alloc_copy(options->file, strlen(options->file));
    enum pl_err err = store->file ? find_file(store->file, options, diag) : PL_NO_MEMORY;
    if (!err)
        err = open_db(store, options, diag);
    if (err) {
        pl_store_free(store);
        return err;
    }
    *out = store;
    return PL_OK;
}

/* ---- reading back ---- */

static struct pl_bytes column_bytes(sqlite3_stmt *s, int at)
{
    const void *data = sqlite3_column_blob(s, at);
    return pl_bytes_of(data, (size_t)sqlite3_column_bytes(s, at));
}

enum pl_err pl_store_each_state(struct pl_store *store, enum pl_state kind, pl_store_state_fn *fn,
    void *context, struct pl_diag *diag)
{
    uint8_t from = (uint8_t)kind, to = (uint8_t)(kind + 1);
    sqlite3_stmt *s = NULL;
    enum pl_err err = PL_OK;
    int code = SQLITE_ERROR;
    if (sqlite3_prepare_v2(store->db,
            "SELECT key, crc, value FROM states WHERE key >= ? AND key < ? ORDER BY key", -1, &s,
            NULL) == SQLITE_OK &&
        sqlite3_bind_blob(s, 1, &from, 1, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_bind_blob(s, 2, &to, 1, SQLITE_STATIC) == SQLITE_OK) {
        while (!err && (code = sqlite3_step(s)) == SQLITE_ROW) {
            struct pl_bytes key = column_bytes(s, 0), value = column_bytes(s, 2);
            if (pl_store_crc(key, value) == sqlite3_column_int64(s, 1)) {
                err = fn(context, key, value);
            } else if (store->may_be_damaged) {
                store->damaged++;
            } else {
                pl_diag_set(diag, 0, "the store %s is damaged (a state): %s", store->file, advice);
                err = PL_CONFIG;
            }
        }
    }
    if (!err && code != SQLITE_DONE) {
        if (store->may_be_damaged)
            store->damaged++;
        else
            err = tell_sql(store, diag);
    }
    (void)sqlite3_finalize(s);
    return err;
}

/* A message on its way back. */
struct found {
    struct pl_message *kept;
    uint8_t realm_len;
    char realm[64];
};

struct finding {
    struct pl_store *store;
    const struct pl_times *now;
    struct found *items;
    size_t count, cap;
};

static uint32_t read_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static enum pl_err add_found(struct finding *f, struct found it)
{
    if (f->count == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 256;
        struct found *items = pl_realloc(f->items, cap * sizeof *items);
        if (!items)
            return PL_NO_MEMORY;
        f->items = items;
        f->cap = cap;
    }
    f->items[f->count++] = it;
    return PL_OK;
}

/* One record: size, id, realm, message. PL_MALFORMED: it is none. */
static enum pl_err read_record(
    struct finding *f, struct store_group *group, struct pl_bytes bytes, uint32_t offset)
{
    struct found it = {0};
    if (bytes.len < 13 || bytes.data[12] > sizeof it.realm || bytes.data[12] > bytes.len - 13)
        return PL_MALFORMED;
    it.realm_len = bytes.data[12];
    memcpy(it.realm, bytes.data + 13, it.realm_len);
    enum pl_err err = pl_message_read(pl_bytes_from(bytes, 13u + it.realm_len), f->now, &it.kept);
    if (err)
        return err;
    struct store_record *record = pl_store_record_new(f->store, pl_get_u64(bytes.data + 4));
    if (record) {
        record->offset = offset;
        record->size = (uint32_t)bytes.len;
        it.kept->record = &record->base;
    }
    err = record ? add_found(f, it) : PL_NO_MEMORY;
    if (err) {
        it.kept->record = NULL;
        pl_free(record);
        pl_message_unref(it.kept);
        return err;
    }
    pl_store_add_record(group, record);
    if (record->base.id > f->store->last_id)
        f->store->last_id = record->base.id;
    return PL_OK;
}

static enum pl_err read_group(struct finding *f, uint64_t ticket, struct pl_bytes body)
{
    struct store_group *group = pl_zalloc(sizeof *group);
    if (!group)
        return PL_NO_MEMORY;
    group->ticket = ticket;
    group->bytes = body.len;
    enum pl_err err = PL_OK;
    for (size_t at = 0; !err && at < body.len;) {
        uint32_t size = body.len - at >= 4 ? read_u32(body.data + at) : UINT32_MAX;
        if (size > body.len - at - 4) {
            err = PL_MALFORMED;
            break;
        }
        err = read_record(f, group, pl_bytes_of(body.data + at, 4u + size), (uint32_t)at);
        at += 4u + size;
    }
    /* With what was read of it: records refer to it. */
    group->is_dead = !group->live_count;
    f->store->dead_count += group->is_dead;
    pl_store_add_group(f->store, group);
    return err;
}

static enum pl_err read_groups(struct finding *f, struct pl_diag *diag)
{
    struct pl_store *store = f->store;
    sqlite3_stmt *s = NULL;
    enum pl_err err = PL_OK;
    int code = SQLITE_ERROR;
    if (sqlite3_prepare_v2(store->db, "SELECT ticket, crc, body FROM groups ORDER BY ticket", -1,
            &s, NULL) == SQLITE_OK) {
        while (!err && (code = sqlite3_step(s)) == SQLITE_ROW) {
            uint64_t ticket = (uint64_t)sqlite3_column_int64(s, 0);
            struct pl_bytes body = column_bytes(s, 2);
            err = pl_store_group_crc(ticket, body) == sqlite3_column_int64(s, 1)
                      ? read_group(f, ticket, body)
                      : PL_MALFORMED;
            if (err == PL_MALFORMED && store->may_be_damaged) {
                store->damaged++;
                err = PL_OK;
            } else if (err == PL_MALFORMED) {
                pl_diag_set(diag, 0, "the store %s is damaged (group %llu): %s", store->file,
                    (unsigned long long)ticket, advice);
                err = PL_CONFIG;
            }
        }
    }
    if (!err && code != SQLITE_DONE) {
        if (store->may_be_damaged)
            store->damaged++;
        else
            err = tell_sql(store, diag);
    }
    (void)sqlite3_finalize(s);
    return err;
}

static int compare_found(const void *a, const void *b)
{
    uint64_t x = ((const struct found *)a)->kept->record->id;
    uint64_t y = ((const struct found *)b)->kept->record->id;
    return x < y ? -1 : x > y;
}

enum pl_err pl_store_each_message(struct pl_store *store, const struct pl_times *now,
    pl_store_message_fn *fn, void *context, struct pl_diag *diag)
{
    struct finding f = {.store = store, .now = now};
    enum pl_err err = read_groups(&f, diag);
    if (!err && f.count)
        qsort(f.items, f.count, sizeof *f.items, compare_found);
    for (size_t i = 0; i < f.count; i++) {
        if (err)
            pl_message_unref(f.items[i].kept);
        else
            err = fn(context, pl_bytes_of(f.items[i].realm, f.items[i].realm_len), f.items[i].kept);
    }
    pl_free(f.items);
    return err;
}

/* ---- start and end ---- */

static enum pl_err begin_start(struct pl_store *store)
{
    if (!run_sql(store, "UPDATE facts SET value = value + 1 WHERE name = 'starts'"))
        return PL_IO;
    int64_t starts = ask_number(store, "SELECT value FROM facts WHERE name = 'starts'");
    if (starts < 1)
        return PL_IO;
    uint64_t base = (uint64_t)starts << START_SHIFT;
    int64_t ticket = ask_number(store, "SELECT coalesce(max(ticket), 0) FROM groups");
    if (store->last_id < base)
        store->last_id = base;
    store->next_ticket = ticket > 0 && (uint64_t)ticket > base ? (uint64_t)ticket : base;
    return PL_OK;
}

enum pl_err pl_store_start(
    struct pl_store *store, pl_store_committed_fn *committed, void *context, struct pl_diag *diag)
{
    store->committed = committed;
    store->context = context;
    if (begin_start(store) || pl_store_prepare(store)) {
        pl_diag_set(diag, sqlite3_errcode(store->db), "the store %s cannot be written to: %s",
            store->file, sqlite3_errmsg(store->db));
        return PL_IO;
    }
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    store->is_started = pthread_create(&store->thread, NULL, pl_store_run, store) == 0;
    return store->is_started ? PL_OK : PL_NO_MEMORY;
}

const struct pl_journal *pl_store_journal(struct pl_store *store)
{
    return &store->journal;
}

void pl_store_stop(struct pl_store *store)
{
    if (!store || !store->is_started || store->is_stopped)
        return;
    pthread_mutex_lock(&store->lock);
    store->is_stopping = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
    (void)pthread_join(store->thread, NULL);
    pthread_mutex_lock(&store->lock);
    store->is_stopped = true;
    pthread_mutex_unlock(&store->lock);
}

struct pl_store *pl_store_free(struct pl_store *store)
{
    if (!store)
        return NULL;
    pl_store_stop(store);
    pl_store_groups_free(store);
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(store->statements[i]);
    if (store->db)
        (void)sqlite3_close(store->db);
    pl_shared_unref(store->spare_body);
    pl_shared_unref(store->spare_changes);
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->lock);
    pl_free(store->file);
    pl_free(store);
    return NULL;
}

void pl_store_stats(struct pl_store *store, struct pl_store_stats *out)
{
    struct stat about;
    pthread_mutex_lock(&store->lock);
    *out = store->stats;
    out->pending_bytes = store->pending_bytes;
    bool is_started = store->is_started;
    pthread_mutex_unlock(&store->lock);
    out->file_bytes = stat(store->file, &about) == 0 ? (uint64_t)about.st_size : 0;
    if (is_started)
        return;
    out->groups = (uint64_t)ask_number(store, "SELECT count(*) FROM groups");
    out->states = (uint64_t)ask_number(store, "SELECT count(*) FROM states");
    out->group_bytes = store->bytes;
    out->live_bytes = store->live_bytes;
    out->damaged = store->damaged;
    for (const struct store_group *g = store->groups; g; g = g->next)
        out->messages += g->live_count;
}

enum pl_err pl_store_vacuum(struct pl_store *store, struct pl_diag *diag)
{
    return run_sql(store, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)") ? PL_OK
                                                                     : tell_sql(store, diag);
}
