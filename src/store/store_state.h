/* What the store's files share; internal to this folder. */
#ifndef PL_STORE_STORE_STATE_H
#define PL_STORE_STORE_STATE_H

#include <pthread.h>
#include <sqlite3.h>

#include "base/map.h"
#include "base/output.h"
#include "store/store.h"

/* A group that is in the file: which of its messages are still wanted. The writer's. */
struct store_group {
    struct store_group *next, **at; /* all, oldest first */
    uint64_t ticket;
    struct store_record *records; /* those that are wanted */
    uint32_t live_count;
    uint64_t bytes, live_bytes;
    bool is_dead; /* its row is to be deleted */
};

struct store_record {
    struct pl_record base;
    struct pl_store *store;
    struct store_group *group;       /* NULL: its group has not been written, or never will be */
    struct store_record *next, **at; /* the group's; of a group being filled: next alone */
    struct store_record *dropped_next;
    bool is_waiting;       /* its group is being filled or written: the group's list refers to it */
    bool is_dropped;       /* … and nobody wants it any more; the writer's */
    uint32_t offset, size; /* in the group's body */
};

enum change_kind { CHANGE_PUT, CHANGE_DROP, CHANGE_DROP_ALL };

/* The group that is being filled; under the store's lock, then the writer's. */
struct filling {
    struct pl_writer body;    /* records: size, id, realm, message */
    struct pl_writer changes; /* kind, key, value */
    struct store_record *records, **records_end;
    uint32_t record_count, change_count;
    uint64_t ticket;
    struct store_group *group;        /* made beforehand, so that a commit cannot fail half way */
    struct pl_store_verdict *verdict; /* the same */
};

enum statement {
    ST_BEGIN,
    ST_COMMIT,
    ST_ROLLBACK,
    ST_ADD_GROUP,
    ST_DROP_GROUP,
    ST_READ_GROUP,
    ST_PUT,
    ST_DROP,
    ST_DROP_ALL,
    STATEMENTS,
};

struct pl_store {
    struct pl_journal journal;
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS]; /* the writer's */
    char *file;
    pl_store_committed_fn *committed;
    void *context;
    pthread_t thread;
    bool is_started;

    pthread_mutex_t lock; /* guards what follows, up to the writer's */
    pthread_cond_t wake;
    struct filling *filling; /* NULL: nothing waits */
    uint64_t next_ticket, last_id;
    uint64_t pending_bytes, pending_bytes_max;
    bool is_asleep; /* the writer waits, and nobody has woken it yet */
    bool is_stopping, is_stopped;
    struct pl_store_stats stats;
    struct pl_shared *spare_body, *spare_changes; /* one reference each, or NULL */

    /* The writer's, and before the start the opener's. */
    struct store_group *groups, **groups_end;
    uint64_t bytes, live_bytes;
    uint32_t dead_count; /* groups whose rows are to be deleted */
    bool may_be_damaged;
    uint64_t damaged;
    _Atomic(struct store_record *) dropped; /* a stack; any thread pushes */
};

/* ---- journal.c ---- */
void pl_store_init_journal(struct pl_store *store);
void pl_store_filling_free(struct pl_store *store, struct filling *f);
PL_MUST_USE struct store_record *pl_store_record_new(struct pl_store *store, uint64_t id);
/* ---- groups.c ---- */
/* Works off what was dropped since; frees those records. */
void pl_store_take_dropped(struct pl_store *store);
void pl_store_add_group(struct pl_store *store, struct store_group *group);
void pl_store_add_record(struct store_group *group, struct store_record *record);
void pl_store_drop_group(struct pl_store *store, struct store_group *group);
void pl_store_groups_free(struct pl_store *store);
/* ---- writer.c ---- */
/* What tells a flipped bit: of a state's key and value, of a group's ticket and body. */
int64_t pl_store_crc(struct pl_bytes key, struct pl_bytes value);
int64_t pl_store_group_crc(uint64_t ticket, struct pl_bytes body);
PL_MUST_USE enum pl_err pl_store_prepare(struct pl_store *store);
void *pl_store_run(void *context);

#endif
