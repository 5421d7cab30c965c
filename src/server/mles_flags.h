/*
 * The options of the original Mles server as a configuration of ours, which config.h parses: one
 * port with TLS for the chat and the pages, maybe one that redirects to it.
 */
#ifndef PL_SERVER_MLES_FLAGS_H
#define PL_SERVER_MLES_FLAGS_H

#include "base/bytes.h"

enum { PL_MLES_FLAGS_MAX = 256 }; /* of each list */

struct pl_flag_list {
    const char *items[PL_MLES_FLAGS_MAX];
    uint32_t count;
};

/* As the original's; texts are borrowed, NULL: not given. */
struct pl_mles_flags {
    struct pl_flag_list domains, email, proxies, peers; /* proxies: "prefix=url" */
    const char *wwwroot, *cache;
    uint64_t limit, filelimit, port, compression_cache_mb;
    uint64_t rate_limit; /* 0: none */
    bool staging, redirect;

    /* Ours. */
    uint64_t redirect_port;
    const char *certificate, *key; /* instead of ordering one */
    const char *directory, *ca;    /* of another authority */
    bool has_ipv6;                 /* this machine has */
};

/* *out: one reference, JSON with a zero at its end. PL_NO_MEMORY. */
PL_MUST_USE enum pl_err pl_mles_flags_translate(
    const struct pl_mles_flags *flags, struct pl_shared **out);

#endif
