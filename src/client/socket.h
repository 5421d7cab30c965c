/*
 * A stream to a server: TCP or Unix, plain or TLS. Nothing here waits, but pl_socket_open and
 * pl_socket_start_tls, which are made of the rest for a program that does one thing at a time:
 *
 *     pl_socket_begin            then, when it is writable
 *     pl_socket_connected        until it no longer says PL_NEED_MORE
 *     pl_socket_begin_tls        if TLS is wanted
 *     pl_socket_handshake        until it no longer says PL_NEED_MORE; waits for what
 *                                pl_socket_wants_write tells
 *     pl_socket_read, pl_socket_write
 *
 * A socket is for one thread at a time.
 */
#ifndef PL_CLIENT_SOCKET_H
#define PL_CLIENT_SOCKET_H

#include <sys/socket.h>

#include "base/bytes.h"

struct pl_socket;

/* Texts are borrowed during the call. */
struct pl_socket_tls {
    const char *ca_file;              /* trusted certificates; NULL: what the system trusts */
    const char *cert_file, *key_file; /* the client's own; NULL: it shows none */
    bool insecure;                    /* any certificate will do */
};

/* Begins to connect. PL_IO: it cannot, diag tells why. */
PL_MUST_USE enum pl_err pl_socket_begin(
    const struct sockaddr *address, socklen_t len, struct pl_socket **out, struct pl_diag *diag);
/* The same to a Unix socket. */
PL_MUST_USE enum pl_err pl_socket_begin_unix(
    const char *path, struct pl_socket **out, struct pl_diag *diag);
/* Takes over a connected descriptor, which is closed with the socket, or if there is no memory. */
PL_MUST_USE enum pl_err pl_socket_adopt(int fd_moved, struct pl_socket **out);
/* Is it connected by now? PL_OK, PL_NEED_MORE, or PL_IO with a diag. */
PL_MUST_USE enum pl_err pl_socket_connected(struct pl_socket *s, struct pl_diag *diag);

/* TLS from here on, the certificate checked for `host`; "": for none. PL_IO: a file, diag. */
PL_MUST_USE enum pl_err pl_socket_begin_tls(
    struct pl_socket *s, const char *host, const struct pl_socket_tls *tls, struct pl_diag *diag);
/* PL_OK: done. PL_NEED_MORE. PL_IO: diag tells what the certificate or the peer has. */
PL_MUST_USE enum pl_err pl_socket_handshake(struct pl_socket *s, struct pl_diag *diag);
/* After PL_NEED_MORE of a handshake: is it writing that it waits for? */
bool pl_socket_wants_write(const struct pl_socket *s);
bool pl_socket_is_tls(const struct pl_socket *s);

/* Connects within the time. host "": path is a Unix socket. Tries each address of the host. */
PL_MUST_USE enum pl_err pl_socket_open(const char *host, const char *port, const char *path,
    uint64_t timeout_ms, struct pl_socket **out, struct pl_diag *diag);
/* Begins TLS and ends its handshake within the time. */
PL_MUST_USE enum pl_err pl_socket_start_tls(struct pl_socket *s, const char *host,
    const struct pl_socket_tls *tls, uint64_t timeout_ms, struct pl_diag *diag);

/* Says goodbye as far as that goes at once, and frees. Returns NULL; accepts NULL. */
struct pl_socket *pl_socket_close(struct pl_socket *s);

int pl_socket_fd(const struct pl_socket *s);
/* Bytes are there that no poll will tell of. */
bool pl_socket_has_pending(const struct pl_socket *s);

/* PL_NEED_MORE: not now. PL_CLOSED: the peer has ended it. */
PL_MUST_USE enum pl_err pl_socket_read(struct pl_socket *s, void *to, size_t cap, size_t *out_len);
PL_MUST_USE enum pl_err pl_socket_write(struct pl_socket *s, struct pl_bytes from, size_t *out_len);

#endif
