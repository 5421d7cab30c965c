/*
 * Between tls_store.c and tls.c, which hold certificates, and tls_layer.c, which shows them. Any
 * thread.
 */
#ifndef PL_NET_TLS_STATE_H
#define PL_NET_TLS_STATE_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "net/tls.h"
#include "net/tls_store.h"

/* ---- tls_store.c ---- */

struct pl_tls_certificate {
    atomic_uint refs;
    gnutls_pcert_st *chain; /* owned array */
    unsigned chain_len, chain_ready;
    gnutls_privkey_t key;
    char **names; /* owned array of owned texts: DNS names in lower case */
    size_t name_count;
    uint64_t starts_unix_ms, expires_unix_ms;
};

/* What a store held at one time. Immutable, counted. */
struct pl_tls_set;

struct pl_tls_set *pl_tls_store_ref(struct pl_tls_store *store);
void pl_tls_set_unref(struct pl_tls_set *set);
/* Is a challenge to be answered? */
bool pl_tls_set_has_challenge(const struct pl_tls_set *set);
/* name: in lower case; empty: the client has told none. Borrowed from set; NULL: there is none. */
struct pl_tls_certificate *pl_tls_set_find(const struct pl_tls_set *set, struct pl_bytes name,
    const gnutls_pk_algorithm_t *kinds, int kind_count);
struct pl_tls_certificate *pl_tls_set_find_challenge(
    const struct pl_tls_set *set, struct pl_bytes name);

/* ---- tls.c ---- */

/* What one load has brought; immutable, counted. */
struct pl_tls_loaded;

/* What one session shows, from its first byte to its last. At one address while it lives. */
struct pl_tls_shown {
    struct pl_tls_loaded *loaded; /* one reference */
    struct pl_tls_set *set;       /* one reference; NULL: the server has no store */
};

/* PL_UNSUPPORTED: nothing was loaded. PL_NO_MEMORY. */
PL_MUST_USE enum pl_err pl_tls_shown_begin(
    struct pl_tls_shown *shown, struct pl_tls_server *server, gnutls_session_t *out);
/* After the session's end. */
void pl_tls_shown_done(struct pl_tls_shown *shown);
/* The peer, whose handshake is done, came to check a challenge: there is nothing more to say. */
bool pl_tls_is_challenge(gnutls_session_t session);

#endif
