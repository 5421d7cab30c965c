/*
 * Between tls.c, which loads credentials, and tls_layer.c, which uses them. Any thread.
 */
#ifndef PL_NET_TLS_STATE_H
#define PL_NET_TLS_STATE_H

#include <gnutls/gnutls.h>

#include "net/tls.h"

/* What one load has brought; immutable, counted. */
struct pl_tls_loaded;

/* One reference to what is in use now; NULL: nothing was loaded. */
struct pl_tls_loaded *pl_tls_server_ref(struct pl_tls_server *server);
void pl_tls_loaded_unref(struct pl_tls_loaded *loaded);
/* A session that shows it. PL_NO_MEMORY. */
PL_MUST_USE enum pl_err pl_tls_loaded_session(struct pl_tls_loaded *loaded, gnutls_session_t *out);

#endif
