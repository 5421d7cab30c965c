/*
 * The writer: one transaction per group.
 *
 * Beside what was appended, a transaction deletes groups in which nothing is wanted any more, and
 * writes one old group anew whose wanted part is less than half, while the file is mostly waste. If
 * it fails, nothing of it has happened; the next group tries again, so a full disk clears by
 * itself.
 */
#include <errno.h>
#include <time.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "store/store_state.h"

enum {
    WASTE_MIN = 4 * 1024 * 1024, /* below this nothing is written anew */
    IDLE_MS = 1000,              /* how long what is only dropped waits for company */
    DEAD_MAX = 256,              /* groups that one transaction deletes */
};

static const char *const texts[STATEMENTS] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    [ST_ADD_GROUP] = "INSERT INTO groups (ticket, crc, body) VALUES (?, ?, ?)",
    [ST_DROP_GROUP] = "DELETE FROM groups WHERE ticket = ?",
    [ST_READ_GROUP] = "SELECT body FROM groups WHERE ticket = ?",
    [ST_PUT] = "INSERT OR REPLACE INTO states (key, crc, value) VALUES (?, ?, ?)",
    [ST_DROP] = "DELETE FROM states WHERE key = ?",
    [ST_DROP_ALL] = "DELETE FROM states WHERE key >= ? AND key < ?",
};

enum pl_err pl_store_prepare(struct pl_store *store)
{
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                &store->statements[i], NULL) != SQLITE_OK)
            return PL_IO;
    return PL_OK;
}

/* Runs it to its end; is it done? */
static bool step(struct pl_store *store, enum statement which)
{
    sqlite3_stmt *s = store->statements[which];
    int code = sqlite3_step(s);
    (void)sqlite3_reset(s);
    return code == SQLITE_DONE;
}

static bool bind_bytes(sqlite3_stmt *s, int at, struct pl_bytes bytes)
{
    return sqlite3_bind_blob64(s, at, bytes.len ? (const void *)bytes.data : "", bytes.len,
               SQLITE_STATIC) == SQLITE_OK;
}

int64_t pl_store_crc(struct pl_bytes key, struct pl_bytes value)
{
    return (int64_t)crc32_z(crc32_z(0, key.data, key.len), value.data, value.len);
}

int64_t pl_store_group_crc(uint64_t ticket, struct pl_bytes body)
{
    uint8_t key[8];
    pl_put_u64(key, ticket);
    return pl_store_crc(pl_bytes_of(key, sizeof key), body);
}

static bool add_group(struct pl_store *store, uint64_t ticket, struct pl_bytes body)
{
    sqlite3_stmt *s = store->statements[ST_ADD_GROUP];
    return sqlite3_bind_int64(s, 1, (int64_t)ticket) == SQLITE_OK &&
           sqlite3_bind_int64(s, 2, pl_store_group_crc(ticket, body)) == SQLITE_OK &&
           bind_bytes(s, 3, body) && step(store, ST_ADD_GROUP);
}

static bool delete_group(struct pl_store *store, uint64_t ticket)
{
    return sqlite3_bind_int64(store->statements[ST_DROP_GROUP], 1, (int64_t)ticket) == SQLITE_OK &&
           step(store, ST_DROP_GROUP);
}

static uint32_t read_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The first key that does not begin so, in place; its length. 0: there is none. */
static size_t after_prefix(uint8_t *key, size_t len)
{
    while (len && key[len - 1] == 0xff)
        len--;
    if (len)
        key[len - 1]++;
    return len;
}

static bool drop_all(struct pl_store *store, struct pl_bytes prefix)
{
    uint8_t *end = pl_alloc(prefix.len + 1);
    if (!end)
        return false;
    memcpy(end, prefix.data, prefix.len);
    size_t len = after_prefix(end, prefix.len);
    sqlite3_stmt *s = store->statements[ST_DROP_ALL];
    bool ok = len && bind_bytes(s, 1, prefix) && bind_bytes(s, 2, pl_bytes_of(end, len)) &&
              step(store, ST_DROP_ALL);
    (void)sqlite3_clear_bindings(s);
    pl_free(end);
    return ok;
}

/* Ours, so its lengths are right. */
static bool apply_changes(struct pl_store *store, const struct filling *f)
{
    const uint8_t *at = f->changes.data;
    for (uint32_t i = 0; i < f->change_count; i++) {
        enum change_kind kind = (enum change_kind)at[0];
        struct pl_bytes key = {at + 5, read_u32(at + 1)};
        const uint8_t *behind = key.data + key.len;
        struct pl_bytes value = {behind + 4, read_u32(behind)};
        at = value.data + value.len;
        bool ok;
        if (kind == CHANGE_DROP_ALL) {
            ok = drop_all(store, key);
        } else if (kind == CHANGE_DROP) {
            ok = bind_bytes(store->statements[ST_DROP], 1, key) && step(store, ST_DROP);
        } else {
            sqlite3_stmt *s = store->statements[ST_PUT];
            ok = bind_bytes(s, 1, key) &&
                 sqlite3_bind_int64(s, 2, pl_store_crc(key, value)) == SQLITE_OK &&
                 bind_bytes(s, 3, value) && step(store, ST_PUT);
        }
        if (!ok)
            return false;
    }
    return true;
}

static bool delete_dead(struct pl_store *store)
{
    uint32_t left = store->dead_count < DEAD_MAX ? store->dead_count : DEAD_MAX;
    for (struct store_group *g = store->groups; g && left; g = g->next)
        if (g->is_dead) {
            left--;
            if (!delete_group(store, g->ticket))
                return false;
        }
    return true;
}

/* After the commit that deleted their rows. */
static void forget_dead(struct pl_store *store)
{
    uint32_t left = store->dead_count < DEAD_MAX ? store->dead_count : DEAD_MAX;
    for (struct store_group *g = store->groups; g && left;) {
        struct store_group *next = g->next;
        if (g->is_dead) {
            left--;
            pl_store_drop_group(store, g);
        }
        g = next;
    }
}

/* A group of which less than half is wanted, while that is so of the whole file. */
static struct store_group *find_waste(const struct pl_store *store)
{
    if (store->bytes < store->live_bytes * 2 + WASTE_MIN)
        return NULL;
    for (struct store_group *g = store->groups; g; g = g->next)
        if (!g->is_dead && g->live_bytes * 2 < g->bytes)
            return g;
    return NULL;
}

/* The wanted records of a group, one behind the other. NULL: it cannot be read, or no memory. */
static struct pl_shared *copy_wanted(struct pl_store *store, const struct store_group *g)
{
    sqlite3_stmt *s = store->statements[ST_READ_GROUP];
    struct pl_shared *body = NULL;
    if (sqlite3_bind_int64(s, 1, (int64_t)g->ticket) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW) {
        struct pl_writer w = pl_writer_new();
        const uint8_t *from = sqlite3_column_blob(s, 0);
        size_t len = (size_t)sqlite3_column_bytes(s, 0);
        for (const struct store_record *r = g->records; from && r; r = r->next)
            if ((size_t)r->offset + r->size <= len)
                pl_write_bytes(&w, pl_bytes_of(from + r->offset, r->size));
        if (pl_writer_take(&w, &body))
            body = NULL;
    }
    (void)sqlite3_reset(s);
    return body;
}

struct rewrite {
    struct store_group *old, *fresh; /* fresh: owned until it is in the list */
};

/* True: there was nothing to do, or it stands in the transaction. */
static bool rewrite_waste(struct pl_store *store, struct rewrite *out)
{
    struct store_group *old = find_waste(store);
    struct pl_shared *body = old ? copy_wanted(store, old) : NULL;
    struct store_group *fresh = body ? pl_zalloc(sizeof *fresh) : NULL;
    bool ok = true;
    if (fresh) {
        pthread_mutex_lock(&store->lock);
        fresh->ticket = ++store->next_ticket;
        pthread_mutex_unlock(&store->lock);
        fresh->bytes = body->len;
        ok = add_group(store, fresh->ticket, pl_bytes_of(body->data, body->len)) &&
             delete_group(store, old->ticket);
        *out = (struct rewrite){old, fresh};
    }
    pl_shared_unref(body);
    return ok;
}

static void finish_rewrite(struct pl_store *store, struct rewrite *it)
{
    uint32_t offset = 0;
    struct store_record *r = it->old->records;
    it->fresh->live_count = it->old->live_count;
    it->fresh->live_bytes = it->old->live_bytes;
    it->fresh->records = r;
    if (r)
        r->at = &it->fresh->records;
    for (; r; r = r->next) {
        r->group = it->fresh;
        r->offset = offset;
        offset += r->size;
    }
    pl_store_add_group(store, it->fresh);
    it->old->live_bytes = 0;
    store->live_bytes -= it->fresh->live_bytes; /* it was counted in both for a moment */
    it->old->records = NULL;
    pl_store_drop_group(store, it->old);
}

/* f NULL: only what was dropped. */
static bool write_group(struct pl_store *store, const struct filling *f, struct rewrite *rewrite)
{
    if (!step(store, ST_BEGIN))
        return false;
    bool ok = !f || !f->record_count ||
              add_group(store, f->ticket, pl_bytes_of(f->body.data, f->body.len));
    ok = ok && (!f || apply_changes(store, f)) && delete_dead(store) &&
         rewrite_waste(store, rewrite) && step(store, ST_COMMIT);
    if (!ok && !sqlite3_get_autocommit(store->db))
        (void)!step(store, ST_ROLLBACK);
    return ok;
}

/* Its group's fate is known. False: nobody wants it any more, and it is gone. */
static bool settle_record(struct store_record *record)
{
    bool is_wanted = !record->is_dropped;
    record->is_waiting = false;
    if (!is_wanted)
        pl_free(record);
    return is_wanted;
}

/* The group's messages are in the file now: from here on their drops count. */
static void keep_group(struct pl_store *store, struct filling *f)
{
    if (!f->record_count)
        return;
    struct store_group *group = f->group;
    f->group = NULL;
    group->ticket = f->ticket;
    group->bytes = f->body.len;
    struct store_record *r = f->records;
    for (uint32_t i = 0; i < f->record_count; i++) {
        struct store_record *next = r->next;
        if (settle_record(r))
            pl_store_add_record(group, r);
        r = next;
    }
    group->is_dead = !group->live_count;
    store->dead_count += group->is_dead;
    pl_store_add_group(store, group);
}

static void lose_group(struct filling *f)
{
    struct store_record *r = f->records;
    for (uint32_t i = 0; i < f->record_count; i++) {
        struct store_record *next = r->next;
        (void)!settle_record(r);
        r = next;
    }
}

static void tell_change(struct pl_store *store, bool ok)
{
    bool was_failing = store->stats.is_failing;
    if (ok == !was_failing)
        return;
    if (ok)
        pl_log(PL_LOG_WARN, "store_works", "file=%s", store->file);
    else
        pl_log(PL_LOG_ERROR, "store_failed", "file=%s why=\"%s\" effect=\"%s\"", store->file,
            sqlite3_errmsg(store->db), "what must be kept is refused until it can be written");
}

static void commit(struct pl_store *store, struct filling *f)
{
    struct rewrite rewrite = {0};
    bool ok = write_group(store, f, &rewrite);
    tell_change(store, ok);
    if (ok) {
        forget_dead(store);
        if (rewrite.fresh)
            finish_rewrite(store, &rewrite);
    } else {
        pl_free(rewrite.fresh);
    }
    size_t written = f ? f->body.len + f->changes.len : 0;
    pthread_mutex_lock(&store->lock);
    store->pending_bytes -= written;
    store->stats.is_failing = !ok;
    store->stats.commits += ok;
    store->stats.failures += !ok;
    store->stats.written_bytes += ok ? written : 0;
    pthread_mutex_unlock(&store->lock);
    if (!f)
        return;
    if (ok)
        keep_group(store, f);
    else
        lose_group(f);
    struct pl_store_verdict *verdict = f->verdict;
    f->verdict = NULL;
    verdict->context = store->context;
    verdict->ticket = f->ticket;
    verdict->err = ok ? PL_OK : PL_STORE;
    store->committed(verdict);
    pl_store_filling_free(store, f);
}

static struct timespec soon(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += IDLE_MS / 1000;
    return at;
}

static bool has_garbage(const struct pl_store *store)
{
    return store->dead_count || find_waste(store);
}

/* What is to be written next; NULL and *out_end false: nothing came for a while. */
static struct filling *wait_for_work(struct pl_store *store, bool *out_end)
{
    struct timespec until = soon();
    pthread_mutex_lock(&store->lock);
    int code = 0;
    while (!store->filling && !store->is_stopping && code != ETIMEDOUT) {
        store->is_asleep = true;
        code = pthread_cond_timedwait(&store->wake, &store->lock, &until);
    }
    store->is_asleep = false;
    struct filling *f = store->filling;
    store->filling = NULL;
    *out_end = !f && store->is_stopping;
    pthread_mutex_unlock(&store->lock);
    return f;
}

void *pl_store_run(void *context)
{
    struct pl_store *store = context;
    for (;;) {
        bool is_end;
        struct filling *f = wait_for_work(store, &is_end);
        if (is_end)
            break;
        pl_store_take_dropped(store);
        if (f || has_garbage(store))
            commit(store, f);
        pthread_mutex_lock(&store->lock);
        store->stats.group_bytes = store->bytes;
        store->stats.live_bytes = store->live_bytes;
        pthread_mutex_unlock(&store->lock);
    }
    return NULL;
}
