/*
 * Certificates in memory, found by the name that a client asks for (SNI), swapped while they are
 * shown.
 *
 *     store = pl_tls_store_new();
 *     pl_tls_certificate_read("cert.pem", "key.pem", &certificate, &diag);
 *     pl_tls_store_set(store, PL_TLS_CONFIGURED, &certificate, 1);
 *     certificate = pl_tls_certificate_unref(certificate);
 *     …
 *     pl_tls_server_load(tls, &(struct pl_tls_options){.store = store}, &diag);
 *
 * A handshake that has begun keeps what the store held when it began.
 *
 * Which one a client is shown: one that has the name itself, in the order of the slots below; then
 * one with a wildcard that covers it; then, whatever the name is and without one too, the first of
 * CONFIGURED, ACME, FALLBACK that there is. Of several that would do, one of a kind that the client
 * takes (RSA, ECDSA).
 *
 * Any thread.
 */
#ifndef PL_NET_TLS_STORE_H
#define PL_NET_TLS_STORE_H

#include "base/bytes.h"

/* A key and its chain. Immutable, counted. */
struct pl_tls_certificate;
struct pl_tls_store;

enum pl_tls_slot {
    PL_TLS_ACME,       /* what an authority has issued to us */
    PL_TLS_CONFIGURED, /* the operator's own */
    PL_TLS_FALLBACK,   /* self-signed, of the first start */
    PL_TLS_CHALLENGE,  /* shown to those alone who speak acme-tls/1 (RFC 8737), by their one name */
    PL_TLS_SLOTS,
};

enum { PL_TLS_NAME_MAX = 253, PL_TLS_PEM_MAX = 1 << 20 };

/*
 * PEM: the certificate, then those that vouch for it; the key, without password. One text may be
 * both. PL_CONFIG, PL_NO_MEMORY: diag tells why.
 */
PL_MUST_USE enum pl_err pl_tls_certificate_parse(struct pl_bytes chain, struct pl_bytes key,
    struct pl_tls_certificate **out, struct pl_diag *diag);
/* The same from files; PL_IO too, and diag names the file. */
PL_MUST_USE enum pl_err pl_tls_certificate_read(const char *cert_file, const char *key_file,
    struct pl_tls_certificate **out, struct pl_diag *diag);
struct pl_tls_certificate *pl_tls_certificate_ref(struct pl_tls_certificate *certificate);
/* Returns NULL; accepts NULL. */
struct pl_tls_certificate *pl_tls_certificate_unref(struct pl_tls_certificate *certificate);

/* Unix milliseconds. */
uint64_t pl_tls_certificate_starts_unix_ms(const struct pl_tls_certificate *certificate);
uint64_t pl_tls_certificate_expires_unix_ms(const struct pl_tls_certificate *certificate);
/* Is it for this name, itself or by a wildcard? Case is ignored. */
bool pl_tls_certificate_covers(const struct pl_tls_certificate *certificate, struct pl_bytes name);

/* NULL: no memory. */
PL_MUST_USE struct pl_tls_store *pl_tls_store_new(void);
/* Returns NULL; accepts NULL. Handshakes and connections keep what they need. */
struct pl_tls_store *pl_tls_store_free(struct pl_tls_store *store);
/* Replaces what the slot holds by these, which the store takes references to. PL_NO_MEMORY: it
 * holds what it held. */
PL_MUST_USE enum pl_err pl_tls_store_set(struct pl_tls_store *store, enum pl_tls_slot slot,
    struct pl_tls_certificate *const *certificates, size_t count);
/* When the one ends that is shown without a name (Unix milliseconds); 0: there is none. */
uint64_t pl_tls_store_expires_unix_ms(struct pl_tls_store *store);

#endif
