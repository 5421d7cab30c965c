/*
 * TLS for servers, by GnuTLS: 1.2 and 1.3.
 *
 * A pl_tls_server is what a listener shows: certificates, client CA, application protocols. It
 * can be loaded anew while it serves, and what a store holds may change at any time: handshakes
 * that have begun go on with what they began with.
 *
 * While the store holds challenges (RFC 8737) `acme-tls/1` is spoken too: to the certificate of
 * that one name, and to the end of the handshake; then the connection is closed.
 *
 *     tls = pl_tls_server_new();
 *     pl_tls_make_self_signed("data/tls/cert.pem", "data/tls/key.pem", &diag);
 *     pl_tls_server_load(tls, &(struct pl_tls_options){.cert = …, .key = …}, &diag);
 *
 * Any thread.
 */
#ifndef PL_NET_TLS_H
#define PL_NET_TLS_H

#include "base/bytes.h"

struct pl_tls_server;
struct pl_tls_store;

enum pl_tls_client_cert { PL_TLS_NO_CERT, PL_TLS_REQUEST_CERT, PL_TLS_REQUIRE_CERT };

struct pl_tls_options {
    const char
        *cert_file; /* PEM: the certificate, then those that vouch for it. NULL: the store's */
    const char *key_file; /* PEM, unencrypted */
    /* Certificates by name, where there is no file, and challenges. Borrowed, outlives the server;
     * NULL: none. */
    struct pl_tls_store *store;
    const char *ca_file; /* PEM: who vouches for clients; NULL if client_cert is NO_CERT */
    enum pl_tls_client_cert client_cert;
    const char *const *alpn; /* NULL-terminated, preferred first; NULL: none */
    const char *priorities;  /* GnuTLS' words; NULL: ours */
};

/* NULL: no memory. Refuses handshakes until it was loaded. */
PL_MUST_USE struct pl_tls_server *pl_tls_server_new(void);
/* Returns NULL. Connections keep what they need. */
struct pl_tls_server *pl_tls_server_free(struct pl_tls_server *server);

/* On an error (PL_CONFIG, PL_IO, PL_NO_MEMORY) diag tells which file and why, and what was loaded
 * before stays in use. */
PL_MUST_USE enum pl_err pl_tls_server_load(
    struct pl_tls_server *server, const struct pl_tls_options *options, struct pl_diag *diag);

/* When the certificate ends that is shown without a name (Unix milliseconds); 0: there is none. */
uint64_t pl_tls_server_expires_unix_ms(struct pl_tls_server *server);

/*
 * An ECDSA P-256 certificate for localhost, 127.0.0.1 and ::1, and its key (mode 0600), where there
 * are none yet. Its folder is made if needed. Both there: PL_OK, nothing done. One of two:
 * PL_CONFIG.
 */
PL_MUST_USE enum pl_err pl_tls_make_self_signed(
    const char *cert_file, const char *key_file, struct pl_diag *diag);

#endif
