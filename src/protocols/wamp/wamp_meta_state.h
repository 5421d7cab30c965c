/*
 * The meta session, as its files share it.
 *
 *     wamp_meta.c          its life, invocations, what it is told
 *     wamp_meta_tables.c   who is there: sessions, topics, procedures
 *     wamp_meta_values.c   arguments, answers, events, times
 *     wamp_meta_session.c  wamp.session.…
 *     wamp_meta_topics.c   wamp.subscription.…, wamp.registration.…
 *     wamp_meta_history.c  wamp.subscription.get_events
 */
#ifndef PL_PROTOCOLS_WAMP_META_STATE_H
#define PL_PROTOCOLS_WAMP_META_STATE_H

#include "protocols/wamp/wamp_meta.h"
#include "protocols/wamp/wamp_session.h"

enum {
    META_TIME_MAX = 32, /* bytes of a time's text, with its zero */
};

/* A session that has a card. */
struct meta_session {
    struct pl_map_entry entry;       /* by id */
    struct meta_session *next, **at; /* in the order in which they joined */
    uint64_t id;
    struct pl_shared *card;                      /* one reference */
    bool is_quiet;                               /* its end is not told */
    uint32_t testaments[PL_WAMP_SCOPE_COUNT];    /* that it was given … */
    size_t testament_bytes[PL_WAMP_SCOPE_COUNT]; /* … and what they hold */
};

struct meta_member {
    struct pl_map_entry entry; /* by session */
    uint64_t session;
};

/* What was subscribed, or registered, by its members. */
struct meta_topic {
    struct pl_map_entry by_id, by_pattern;
    struct meta_topic *next, **at; /* of its table */
    uint64_t id;
    uint64_t pattern_id;        /* wamp_subscription_id; of a subscription the same as id */
    struct pl_pattern *pattern; /* one reference */
    uint64_t created_unix_ms;
    struct pl_map members;
    uint8_t invoke;    /* enum pl_invoke; of a registration */
    bool is_permanent; /* of the history's rules: it stays without members */
};

struct meta_table {
    struct pl_map by_id, by_pattern;
    struct meta_topic *literals, *patterns; /* lists */
};

struct meta_call;

struct meta_procedure {
    const char *uri;
    void (*run)(struct meta_call *call);
};

struct meta_callee {
    struct pl_callee core; /* first */
    const struct meta_procedure *procedure;
};

struct meta_read;

struct pl_wamp_meta {
    struct pl_session session; /* first */
    struct pl_output out;      /* never written to: the core asks for its size */
    struct pl_wamp_meta_options options;
    struct pl_map sessions;
    struct meta_session *first, **end; /* list of the same */
    struct meta_table subscriptions, registrations;
    struct meta_callee *callees; /* owned array */
    uint32_t callee_count;
    struct meta_read *reads; /* get_events that wait for the log */
    uint32_t read_count;
    uint64_t next_read;
};

/* One invocation while its procedure runs. */
struct meta_call {
    struct pl_wamp_meta *meta;
    const struct pl_invocation *invocation;
    struct pl_arena *arena;       /* of this call */
    struct pl_value args, kwargs; /* kind NULL: none */
    struct pl_value_writer *v;    /* the list of results is open */
    const char *error;            /* URI; static. NULL: none yet */
    const char *text;             /* of the error; static; NULL: none */
    bool is_later;                /* it is answered when the log has been read */
};

extern const struct meta_procedure meta_session_procedures[]; /* end with uri NULL */
extern const struct meta_procedure meta_kill_procedures[];    /* with can_kill */
extern const struct meta_procedure meta_modify_procedures[];  /* with can_modify */
extern const struct meta_procedure meta_topic_procedures[];

/* ---- wamp_meta.c ---- */

/* Ends an invocation that is_later: the list of results, or an error (URI; text may be NULL). */
void meta_answer(struct pl_wamp_meta *meta, uint64_t invocation, struct pl_writer *results_moved);
void meta_answer_error(
    struct pl_wamp_meta *meta, uint64_t invocation, const char *uri, const char *text);

/* ---- wamp_meta_tables.c ---- */

void meta_tables_init(struct pl_wamp_meta *meta);
void meta_tables_done(struct pl_wamp_meta *meta);
struct meta_session *meta_session_find(const struct pl_wamp_meta *meta, uint64_t id);
/* PL_NO_MEMORY: then it is not known, as if it were not there. */
PL_MUST_USE enum pl_err meta_session_add(
    struct pl_wamp_meta *meta, uint64_t id, struct pl_shared *card);
void meta_session_remove(struct pl_wamp_meta *meta, struct meta_session *session);
/* The reference is moved. */
void meta_session_set_card(struct meta_session *session, struct pl_shared *card_moved);

struct meta_topic *meta_topic_find(const struct meta_table *table, uint64_t id);
struct meta_topic *meta_topic_find_pattern(const struct meta_table *table, uint64_t pattern_id);
/* There, or made. *out_is_new tells. */
PL_MUST_USE enum pl_err meta_topic_make(struct pl_wamp_meta *meta, struct meta_table *table,
    uint64_t id, struct pl_pattern *pattern, uint64_t now_unix_ms, struct meta_topic **out,
    bool *out_is_new);
PL_MUST_USE enum pl_err meta_topic_join(struct meta_topic *topic, uint64_t session);
/* False: it was no member. */
bool meta_topic_leave(struct meta_topic *topic, uint64_t session);
void meta_topic_remove(struct meta_table *table, struct meta_topic *topic);
bool meta_topic_has(const struct meta_topic *topic, uint64_t session);

/* ---- wamp_meta_values.c ---- */

/* The call ends with this error. */
void meta_fail(struct meta_call *call, const char *uri, const char *text);
/* Argument number `index`. False: it is not there. */
bool meta_argument(const struct meta_call *call, uint32_t index, struct pl_value *out);
/* The same that must be an id, or a string: else the call fails with invalid_argument. */
bool meta_argument_id(struct meta_call *call, uint32_t index, uint64_t *out);
bool meta_argument_text(struct meta_call *call, uint32_t index, struct pl_bytes *out);
/* Of ArgumentsKw; false: it is not there, or null. */
bool meta_keyword(const struct meta_call *call, const char *name, struct pl_value *out);
/* The same that is a string; absent: len 0. False: the call failed with invalid_argument. */
bool meta_keyword_text(struct meta_call *call, const char *name, struct pl_bytes *out);
/* "2026-11-28T07:00:00.000Z" */
void meta_format_time(uint64_t unix_ms, char out[META_TIME_MAX]);
/* RFC 3339. PL_MALFORMED. */
PL_MUST_USE enum pl_err meta_parse_time(struct pl_bytes text, uint64_t *out_unix_ms);
/* A string of the card, in the arena; none: len 0. */
struct pl_bytes meta_card_text(
    const struct meta_session *session, const char *key, struct pl_arena *arena);
/* What is told of a session: its card, as the options say. */
void meta_put_card(
    const struct pl_wamp_meta *meta, struct pl_value_writer *v, const struct pl_shared *card);
/* {id, created, uri, match, invoke} */
void meta_put_topic(
    struct pl_value_writer *v, const struct meta_topic *topic, bool is_registration);

/* An event of the meta session's own: everyone gets it but `spared` (0: everyone). */
struct meta_event {
    struct pl_writer w;
    struct pl_value_writer v; /* the list of arguments is open */
};
void meta_event_begin(struct meta_event *event);
void meta_event_end(
    struct pl_wamp_meta *meta, struct meta_event *event, const char *topic, uint64_t spared);

/* A word to a session; no memory: the call fails. */
void meta_tell(
    struct meta_call *call, uint64_t to, enum pl_wamp_word kind, struct pl_writer *word_moved);

/* ---- wamp_meta_topics.c ---- */

void meta_remove_subscriber(struct meta_call *call);
void meta_remove_callee(struct meta_call *call);

/* ---- wamp_meta_history.c ---- */

void meta_get_events(struct meta_call *call);
void meta_on_log(struct pl_wamp_meta *meta, const struct pl_completion *done);
/* The one of this invocation; 0: all. */
void meta_drop_reads(struct pl_wamp_meta *meta, uint64_t invocation);

#endif
