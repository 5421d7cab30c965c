/*
 * The files of some domains, as answers to requests.
 *
 *     reactor         pl_web_ask_make: what is asked for, copied from the request
 *     another thread  pl_site_answer: opens, reads, compresses; pl_web_answer_read: the next piece
 *
 * A site is immutable but for its cache, which has a lock of its own.
 */
#ifndef PL_WEB_SITE_H
#define PL_WEB_SITE_H

#include "base/arena.h"
#include "web/accept.h"
#include "web/condition.h"
#include "web/path.h"

struct pl_http_request;
struct pl_site;

enum {
    PL_WEB_PIECE = 128 * 1024, /* bytes of a file that are read at a time */
};

struct pl_site_options {
    const char *root;
    uint64_t file_max;     /* bytes; a larger file is not served */
    uint64_t cache_bytes;  /* 0: nothing is compressed */
    uint64_t compress_max; /* bytes; a larger file is not compressed */
    uint64_t max_age_ms;   /* 0: each use is asked for */
    uint64_t hsts_ms;      /* 0: it is not told */
};

/* PL_IO, PL_NO_MEMORY: diag names the folder. */
PL_MUST_USE enum pl_err pl_site_new(
    const struct pl_site_options *options, struct pl_site **out, struct pl_diag *diag);
/* Returns NULL; accepts NULL. */
struct pl_site *pl_site_free(struct pl_site *site);

/* Bytes of compressed bodies that it keeps. Any thread. */
size_t pl_site_cache_bytes(const struct pl_site *site);

/* A request for a file. */
struct pl_web_ask {
    const char *domain; /* borrowed; name of a folder in the root */
    struct pl_web_path path;
    bool has_path; /* false: there can be no such file */
    bool is_head, keeps_alive;
    bool is_tls; /* the caller's to say, as keeps_alive may be */
    bool is_old; /* HTTP/1.0 */
    struct pl_bytes query;
    struct pl_web_accept accept;
    struct pl_web_conditions conditions;
};

/* What it keeps of the request is copied into the arena. shows_hidden: see pl_web_path_parse. */
PL_MUST_USE enum pl_err pl_web_ask_make(const char *domain, const struct pl_http_request *request,
    bool shows_hidden, struct pl_arena *arena, struct pl_web_ask *out);

/* What is to be sent: the head, then the body, then, from fd, what is left in pieces. */
struct pl_web_answer {
    struct pl_shared *head; /* owned */
    struct pl_shared *body; /* owned; NULL: none, or it comes in pieces alone */
    int fd;                 /* owned; -1: there are no pieces */
    uint64_t at, left;      /* of the file */
};

/* Never without an answer, but for PL_NO_MEMORY. Blocks. */
PL_MUST_USE enum pl_err pl_site_answer(
    struct pl_site *site, const struct pl_web_ask *ask, struct pl_web_answer *out);
/* The next piece, one reference; closes the file after the last. PL_IO: the file is shorter than it
 * was. Blocks. */
PL_MUST_USE enum pl_err pl_web_answer_read(struct pl_web_answer *answer, struct pl_shared **out);
void pl_web_answer_done(struct pl_web_answer *answer);

#endif
