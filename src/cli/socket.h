/*
 * A connected stream for the command line's client: TCP or Unix, plain or TLS, never blocking but
 * in its opening.
 */
#ifndef PL_CLI_SOCKET_H
#define PL_CLI_SOCKET_H

#include "base/bytes.h"

struct pl_socket;

/* host "": path is a Unix socket. Tries each address of the host. */
PL_MUST_USE enum pl_err pl_socket_open(const char *host, const char *port, const char *path,
    uint64_t timeout_ms, struct pl_socket **out, struct pl_diag *diag);
void pl_socket_close(struct pl_socket *s);

/* TLS from here on, the certificate checked for `host`. ca_file NULL: what the system trusts. */
PL_MUST_USE enum pl_err pl_socket_start_tls(struct pl_socket *s, const char *host,
    const char *ca_file, bool insecure, uint64_t timeout_ms, struct pl_diag *diag);

int pl_socket_fd(const struct pl_socket *s);
/* Bytes are there that no poll will tell of. */
bool pl_socket_has_pending(const struct pl_socket *s);

/* PL_NEED_MORE: not now. PL_CLOSED: the peer has ended it. */
PL_MUST_USE enum pl_err pl_socket_read(struct pl_socket *s, void *to, size_t cap, size_t *out_len);
PL_MUST_USE enum pl_err pl_socket_write(struct pl_socket *s, struct pl_bytes from, size_t *out_len);

#endif
