/* The store alone: what is appended is there after the next start, and what is broken is named and
 * left as it is. The writer has its own thread, so this runs under TSan, too. */
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/store.h"

#include "check.h"

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint64_t ticket; /* the newest one that was decided */
    uint32_t failures;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static char folder[] = "/tmp/parley-store-XXXXXX";
static char file[64];
static const struct pl_times now = {1000, 1700000000000};

__attribute__((constructor)) static void make_folder(void)
{
    if (!mkdtemp(folder))
        abort();
    (void)snprintf(file, sizeof file, "%s/parley.db", folder);
}

static void forget_files(void)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "%s%s", file, ends[i]);
        (void)unlink(name);
    }
}

__attribute__((destructor)) static void remove_folder(void)
{
    forget_files();
    (void)rmdir(folder);
}

static void on_committed(struct pl_store_verdict *verdict)
{
    pthread_mutex_lock(&disk.lock);
    disk.ticket = verdict->ticket;
    disk.failures += verdict->err != PL_OK;
    pthread_cond_broadcast(&disk.moved);
    pthread_mutex_unlock(&disk.lock);
    pl_free(verdict);
}

static void await(uint64_t ticket)
{
    pthread_mutex_lock(&disk.lock);
    while (disk.ticket < ticket)
        pthread_cond_wait(&disk.moved, &disk.lock);
    pthread_mutex_unlock(&disk.lock);
}

/* ---- opening ---- */

static enum pl_err open_with(
    const struct pl_store_options *more, struct pl_store **out, struct pl_diag *diag)
{
    struct pl_store_options options = *more;
    options.file = file;
    options.pending_bytes_max = 64u << 20;
    return pl_store_open(&options, out, diag);
}

static enum pl_err open_again(struct pl_store **out, struct pl_diag *diag)
{
    return open_with(&(struct pl_store_options){0}, out, diag);
}

struct found {
    struct pl_message *items[4096]; /* one reference each */
    size_t count;
    char states[1024]; /* "key=value;" */
};

static enum pl_err on_message(void *context, struct pl_bytes realm, struct pl_message *kept)
{
    struct found *found = context;
    CHECK_BYTES(realm.data, realm.len, "main", 4);
    if (!CHECK(found->count < 4096))
        return PL_LIMIT;
    found->items[found->count++] = kept;
    return PL_OK;
}

static enum pl_err on_state(void *context, struct pl_bytes key, struct pl_bytes value)
{
    struct found *found = context;
    size_t at = strlen(found->states);
    (void)snprintf(found->states + at, sizeof found->states - at, "%.*s=%.*s;", (int)key.len,
        (const char *)key.data, (int)value.len, (const char *)value.data);
    return PL_OK;
}

static enum pl_err read_all(struct pl_store *store, struct found *found, struct pl_diag *diag)
{
    enum pl_err err = pl_store_each_state(store, PL_STATE_SESSION, on_state, found, diag);
    return err ? err : pl_store_each_message(store, &now, on_message, found, diag);
}

static void let_go(struct found *found, size_t from, size_t to)
{
    for (size_t i = from; i < to && i < found->count; i++)
        found->items[i] = pl_message_unref(found->items[i]);
}

/* Opened, read and started; NULL if that is not so. */
static struct pl_store *begin(struct found *found)
{
    struct pl_diag diag = {0};
    struct pl_store *store = NULL;
    *found = (struct found){0};
    if (!CHECK_EQ(open_again(&store, &diag), PL_OK) ||
        !CHECK_EQ(read_all(store, found, &diag), PL_OK) ||
        !CHECK_EQ(pl_store_start(store, on_committed, NULL, &diag), PL_OK)) {
        printf("    %s\n", diag.text);
        return pl_store_free(store);
    }
    disk.ticket = 0;
    return store;
}

static void end(struct pl_store *store, struct found *found)
{
    pl_store_stop(store);
    let_go(found, 0, found->count);
    pl_store_free(store);
}

/* ---- appending ---- */

/* A kept message with its number in front of so many bytes. */
static struct pl_message *message_of(uint32_t number, size_t size)
{
    uint8_t *bytes = calloc(1, size);
    memcpy(bytes, &number, sizeof number);
    struct pl_message draft = {.subject = PL_BYTES("plant.temp"),
        .payload = pl_bytes_of(bytes, size),
        .qos = 1,
        .retain = true,
        .offset = number,
        .time_unix_ms = 5};
    struct pl_message *kept = pl_message_keep(&draft);
    pl_message_done(&draft);
    free(bytes);
    return kept;
}

static uint32_t number_of(const struct pl_message *m)
{
    uint32_t number = UINT32_MAX;
    if (m->payload.len >= sizeof number)
        memcpy(&number, m->payload.data, sizeof number);
    return number;
}

/* One group; its ticket. The messages are added to found. */
static uint64_t append(
    struct pl_store *store, struct found *found, uint32_t from, uint32_t count, size_t size)
{
    const struct pl_journal *j = pl_store_journal(store);
    uint64_t ticket = 0;
    j->hold(j->context);
    for (uint32_t i = 0; i < count; i++) {
        struct pl_message *kept = message_of(from + i, size);
        CHECK_EQ(j->message(j->context, "main", kept, &now, &ticket), PL_OK);
        found->items[found->count++] = kept;
    }
    j->release(j->context);
    return ticket;
}

static uint64_t put(struct pl_store *store, const char *key, const char *value)
{
    const struct pl_journal *j = pl_store_journal(store);
    uint64_t ticket = 0;
    j->hold(j->context);
    CHECK_EQ(*value ? j->put(j->context, pl_bytes_text(key), pl_bytes_text(value), &ticket)
                    : j->drop(j->context, pl_bytes_text(key), &ticket),
        PL_OK);
    j->release(j->context);
    return ticket;
}

/* A store with that in it, after an orderly end. */
static void fill(uint32_t count)
{
    static struct found found;
    forget_files();
    struct pl_store *store = begin(&found);
    REQUIRE(store);
    append(store, &found, 0, count, 200);
    await(put(store, "sann", "1"));
    end(store, &found);
}

static void expect_numbers(const struct found *found, uint32_t from, uint32_t count)
{
    if (!CHECK_EQ(found->count, count))
        return;
    for (uint32_t i = 0; i < count; i++)
        CHECK_EQ(number_of(found->items[i]), from + i);
}

/* ---- what holds ---- */

TEST(what_was_committed_is_there_at_the_next_start_in_its_order)
{
    static struct found found;
    forget_files();
    struct pl_store *store = begin(&found);
    REQUIRE(store);
    CHECK_EQ(found.count, 0);
    for (uint32_t i = 0; i < 50; i++)
        append(store, &found, i * 10, 10, 100);
    put(store, "sann", "1");
    put(store, "sbob", "2");
    put(store, "sann", "3");
    put(store, "scat", "4");
    await(put(store, "sbob", ""));
    end(store, &found);
    CHECK_EQ(disk.failures, 0);
    store = begin(&found);
    REQUIRE(store);
    expect_numbers(&found, 0, 500);
    CHECK_STR(found.states, "sann=3;scat=4;");
    const struct pl_message *m = found.items[7];
    CHECK_BYTES(m->subject.data, m->subject.len, "plant.temp", 10);
    CHECK(m->qos == 1 && m->retain && m->offset == 7 && m->time_unix_ms == 5);
    struct stat stat_;
    CHECK(stat(file, &stat_) == 0 && (stat_.st_mode & 0777) == 0600);
    end(store, &found);
}

TEST(ids_and_tickets_rise_over_starts)
{
    static struct found found;
    uint64_t last_id = 0, last_ticket = 0;
    forget_files();
    for (uint32_t start = 0; start < 4; start++) {
        struct pl_store *store = begin(&found);
        REQUIRE(store);
        expect_numbers(&found, 0, start);
        uint64_t ticket = append(store, &found, start, 1, 50);
        await(ticket);
        CHECK(ticket > last_ticket);
        CHECK(found.items[start]->record->id > last_id);
        last_ticket = ticket;
        last_id = found.items[start]->record->id;
        end(store, &found);
    }
}

TEST(a_message_that_nobody_holds_leaves_the_file)
{
    static struct found found;
    forget_files();
    struct pl_store *store = begin(&found);
    REQUIRE(store);
    append(store, &found, 0, 100, 100);
    await(put(store, "sx", "1"));
    let_go(&found, 0, 100);
    found.count = 0;
    append(store, &found, 100, 1, 100);
    await(put(store, "sx", "2"));
    await(put(store, "sx", "3")); /* what was dropped goes with the group after it */
    end(store, &found);
    store = begin(&found);
    REQUIRE(store);
    expect_numbers(&found, 100, 1);
    end(store, &found);
}

TEST(a_message_that_is_let_go_before_its_group_is_written_is_looked_at_no_more)
{
    static struct found found;
    forget_files();
    struct pl_store *store = begin(&found);
    REQUIRE(store);
    const struct pl_journal *j = pl_store_journal(store);
    uint64_t ticket = 0;
    j->hold(j->context);
    for (uint32_t i = 0; i < 4; i++) {
        struct pl_message *kept = message_of(i, 100);
        CHECK_EQ(j->message(j->context, "main", kept, &now, &ticket), PL_OK);
        found.items[found.count++] = kept;
    }
    let_go(&found, 1, 3); /* refused after all */
    j->release(j->context);
    await(ticket);
    j->hold(j->context);
    struct pl_message *alone = message_of(4, 100);
    CHECK_EQ(j->message(j->context, "main", alone, &now, &ticket), PL_OK);
    pl_message_unref(alone);
    j->release(j->context);
    await(ticket);
    await(put(store, "sx", "1"));
    CHECK_EQ(disk.failures, 0);
    end(store, &found);
}

/* Groups of which little is wanted are written anew, and nothing of that little is lost. */
TEST(a_file_that_is_mostly_waste_is_written_anew)
{
    enum { GROUPS = 32, EACH = 64, SIZE = 8192 };
    static struct found found;
    struct pl_store_stats stats = {0};
    forget_files();
    struct pl_store *store = begin(&found);
    REQUIRE(store);
    for (uint32_t i = 0; i < GROUPS; i++)
        await(append(store, &found, i * EACH, EACH, SIZE));
    for (size_t i = 0; i < found.count; i++)
        if (i % EACH)
            found.items[i] = pl_message_unref(found.items[i]);
    for (int i = 0; i < 3 * GROUPS; i++)
        await(put(store, "sx", i & 1 ? "1" : "2"));
    pl_store_stats(store, &stats);
    CHECK(stats.group_bytes < 6u << 20); /* it was 16 MiB */
    end(store, &found);
    store = begin(&found);
    REQUIRE(store);
    /* What shares a group with what is wanted may come back; who gets it knows. */
    uint32_t wanted = 0;
    for (size_t i = 0; i < found.count; i++)
        wanted += number_of(found.items[i]) % EACH == 0;
    CHECK_EQ(wanted, GROUPS);
    CHECK(found.count < GROUPS * EACH / 2);
    end(store, &found);
}

TEST(what_several_threads_hold_open_is_written_whole)
{
    static struct found found;
    forget_files();
    struct pl_store *store = begin(&found);
    REQUIRE(store);
    const struct pl_journal *j = pl_store_journal(store);
    j->hold(j->context);
    uint64_t first = 0, second = 0;
    CHECK_EQ(j->put(j->context, PL_BYTES("sa"), PL_BYTES("1"), &first), PL_OK);
    usleep(20000); /* the writer could take it */
    CHECK_EQ(j->put(j->context, PL_BYTES("sb"), PL_BYTES("1"), &second), PL_OK);
    j->release(j->context);
    CHECK_EQ(first, second);
    await(second);
    end(store, &found);
}

/* ---- what is refused ---- */

static void write_file(const void *bytes, size_t len, off_t at, bool cut)
{
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && pwrite(fd, bytes, len, at) == (ssize_t)len);
    CHECK(!cut || ftruncate(fd, (off_t)len) == 0);
    close(fd);
}

static void run_sql(const char *sql)
{
    sqlite3 *db = NULL;
    CHECK(sqlite3_open(file, &db) == SQLITE_OK &&
          sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
    (void)sqlite3_close(db);
}

/* Opening or reading fails with err; the file's name is told, and its bytes stay. */
static void expect_refused(enum pl_err expected, const char *word)
{
    static struct found found;
    struct pl_diag diag = {0};
    struct pl_store *store = NULL;
    struct stat before, after;
    found = (struct found){0};
    CHECK(stat(file, &before) == 0);
    enum pl_err err = open_again(&store, &diag);
    if (!err)
        err = read_all(store, &found, &diag);
    CHECK_EQ(err, expected);
    if (!CHECK(strstr(diag.text, file) && strstr(diag.text, word)))
        printf("    %s\n", diag.text);
    let_go(&found, 0, found.count);
    pl_store_free(store);
    CHECK(stat(file, &after) == 0);
    CHECK(before.st_size == after.st_size && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

TEST(what_is_no_store_is_refused)
{
    char text[3000];
    memset(text, 'x', sizeof text);
    forget_files();
    write_file(text, sizeof text, 0, true);
    expect_refused(PL_CONFIG, "damaged");
    forget_files();
    run_sql("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)");
    expect_refused(PL_CONFIG, "no store of Parley");
}

TEST(a_newer_version_is_refused)
{
    fill(3);
    run_sql("PRAGMA user_version = 2");
    expect_refused(PL_CONFIG, "newer");
}

TEST(a_truncated_file_is_refused)
{
    fill(500);
    CHECK(truncate(file, 8192) == 0);
    expect_refused(PL_CONFIG, "damaged");
}

TEST(a_bit_that_flipped_in_a_message_or_a_state_is_noticed)
{
    fill(50);
    run_sql(
        "UPDATE groups SET body = CAST(substr(body, 1, 99) || x'ff' || substr(body, 101) AS BLOB)");
    expect_refused(PL_CONFIG, "damaged");
    fill(50);
    run_sql("UPDATE states SET value = '2'");
    expect_refused(PL_CONFIG, "damaged");
    fill(50);
    run_sql("UPDATE states SET key = CAST('sbnn' AS BLOB)");
    expect_refused(PL_CONFIG, "damaged");
}

TEST(what_can_be_read_of_a_damaged_store_is_read_when_that_is_asked)
{
    static struct found found;
    struct pl_store_options options = {.is_read_only = true, .may_be_damaged = true};
    struct pl_store *store = NULL;
    struct pl_diag diag = {0};
    struct pl_store_stats stats = {0};
    fill(50);
    store = begin(&found);
    REQUIRE(store);
    await(append(store, &found, 50, 10, 100));
    end(store, &found);
    run_sql("UPDATE groups SET crc = crc + 1 WHERE ticket = (SELECT min(ticket) FROM groups)");
    REQUIRE(!open_with(&options, &store, &diag));
    found = (struct found){0};
    CHECK_EQ(read_all(store, &found, &diag), PL_OK);
    expect_numbers(&found, 50, 10);
    CHECK_STR(found.states, "sann=1;");
    pl_store_stats(store, &stats);
    CHECK_EQ(stats.damaged, 1);
    let_go(&found, 0, found.count);
    pl_store_free(store);
}

TEST(two_cannot_serve_one_file)
{
    static struct found found;
    struct pl_diag diag = {0};
    struct pl_store *other = NULL;
    forget_files();
    struct pl_store *store = begin(&found);
    REQUIRE(store);
    await(put(store, "sx", "1"));
    CHECK_EQ(open_again(&other, &diag), PL_EXISTS);
    CHECK(strstr(diag.text, "in use"));
    end(store, &found);
}

TEST(more_than_may_wait_for_the_disk_is_refused)
{
    static struct found found;
    struct pl_store *store = NULL;
    struct pl_diag diag = {0};
    forget_files();
    struct pl_store_options options = {.file = file, .pending_bytes_max = 10000};
    found = (struct found){0};
    REQUIRE(!pl_store_open(&options, &store, &diag) && !read_all(store, &found, &diag) &&
            !pl_store_start(store, on_committed, NULL, &diag));
    disk.ticket = 0;
    const struct pl_journal *j = pl_store_journal(store);
    uint64_t ticket = 0;
    enum pl_err err = PL_OK;
    j->hold(j->context); /* nothing is written meanwhile */
    for (uint32_t i = 0; i < 100 && !err; i++) {
        struct pl_message *kept = message_of(i, 1000);
        err = j->message(j->context, "main", kept, &now, &ticket);
        found.items[found.count++] = kept;
    }
    j->release(j->context);
    CHECK_EQ(err, PL_LIMIT);
    await(ticket);
    CHECK(found.count < 20);
    await(append(store, &found, 100, 1, 1000));
    end(store, &found);
}
