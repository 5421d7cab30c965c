/*
 * TLS over a connection. GnuTLS reads from the bytes that the reactor has read and writes to the
 * connection's wire chain, so it never sees the socket. It keeps an unfinished record itself; what
 * we feed is therefore always taken whole.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sys/uio.h>

#include "base/alloc.h"
#include "net/state.h"
#include "net/tls_state.h"

enum {
    RECORD_MAX = 16384,
    REFUSALS_MAX = 2, /* attempts of a TLS 1.2 peer to renegotiate */
};

struct pl_tls_layer {
    gnutls_session_t session;
    struct pl_tls_shown shown;
    const uint8_t *in; /* borrowed during feed */
    size_t in_len;
    uint8_t refusals;
    bool is_ready;  /* the handshake is done */
    bool is_broken; /* GnuTLS must not be asked again */
};

static ssize_t pull(gnutls_transport_ptr_t context, void *to, size_t len)
{
    struct pl_tls_layer *tls = ((struct pl_conn *)context)->layers->tls;
    if (!tls->in_len) {
        gnutls_transport_set_errno(tls->session, EAGAIN);
        return -1;
    }
    if (len > tls->in_len)
        len = tls->in_len;
    memcpy(to, tls->in, len);
    tls->in += len;
    tls->in_len -= len;
    return (ssize_t)len;
}

static int pull_timeout(gnutls_transport_ptr_t context, unsigned ms)
{
    (void)ms;
    return ((struct pl_conn *)context)->layers->tls->in_len ? 1 : 0;
}

static ssize_t push(gnutls_transport_ptr_t context, const giovec_t *parts, int count)
{
    struct pl_conn *conn = context;
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        if (pl_chain_append(conn->reactor->outputs, &conn->layers->wire, parts[i].iov_base,
                parts[i].iov_len) != PL_OK) {
            gnutls_transport_set_errno(conn->layers->tls->session, ENOMEM);
            return -1;
        }
        len += parts[i].iov_len;
    }
    return (ssize_t)len;
}

enum pl_err pl_tls_layer_new(struct pl_conn *conn, struct pl_tls_server *server)
{
    struct pl_tls_layer *tls = pl_zalloc(sizeof *tls);
    if (!tls)
        return PL_NO_MEMORY;
    enum pl_err err = pl_tls_shown_begin(&tls->shown, server, &tls->session);
    if (err) {
        pl_free(tls);
        return err;
    }
    gnutls_transport_set_ptr(tls->session, conn);
    gnutls_transport_set_pull_function(tls->session, pull);
    gnutls_transport_set_pull_timeout_function(tls->session, pull_timeout);
    gnutls_transport_set_vec_push_function(tls->session, push);
    conn->layers->tls = tls;
    return PL_OK;
}

void pl_tls_layer_free(struct pl_tls_layer *tls)
{
    if (!tls)
        return;
    if (tls->session)
        gnutls_deinit(tls->session);
    pl_tls_shown_done(&tls->shown);
    pl_free(tls);
}

bool pl_tls_layer_is_ready(const struct pl_tls_layer *tls)
{
    return tls->is_ready && !tls->is_broken;
}

struct pl_bytes pl_conn_certificate(const struct pl_conn *conn)
{
    unsigned count = 0;
    const gnutls_datum_t *list =
        pl_conn_is_tls(conn) && pl_tls_layer_is_ready(conn->layers->tls)
            ? gnutls_certificate_get_peers(conn->layers->tls->session, &count)
            : NULL;
    return list && count ? pl_bytes_of(list[0].data, list[0].size) : PL_NO_BYTES;
}

size_t pl_conn_channel_id(
    const struct pl_conn *conn, enum pl_channel_binding type, uint8_t *out, size_t cap)
{
    gnutls_datum_t id = {0};
    if (!pl_conn_is_tls(conn) || !pl_tls_layer_is_ready(conn->layers->tls))
        return 0;
    gnutls_session_t session = conn->layers->tls->session;
    /* tls-unique is not defined for TLS 1.3 (RFC 8446, appendix C.5). */
    if (type == PL_TLS_UNIQUE && gnutls_protocol_get_version(session) > GNUTLS_TLS1_2)
        return 0;
    if (gnutls_session_channel_binding(session,
            type == PL_TLS_UNIQUE ? GNUTLS_CB_TLS_UNIQUE : GNUTLS_CB_TLS_EXPORTER, &id) < 0)
        return 0;
    size_t len = id.size <= cap ? id.size : 0;
    memcpy(out, id.data, len);
    gnutls_free(id.data);
    return len;
}

static void fail(struct pl_conn *conn, int code)
{
    struct pl_tls_layer *tls = conn->layers->tls;
    struct pl_diag diag;
    tls->is_broken = true;
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        const char *alert = gnutls_alert_get_name(gnutls_alert_get(tls->session));
        pl_diag_set(&diag, code, "TLS: the peer says: %s", alert ? alert : "unknown alert");
    } else {
        (void)gnutls_alert_send_appropriate(tls->session, code);
        pl_diag_set(&diag, code, "TLS: %s", gnutls_strerror(code));
    }
    pl_output_touch(&conn->out);
    pl_conn_close(conn, code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_PROTOCOL, &diag);
}

/* True: done. */
static bool shake_hands(struct pl_conn *conn)
{
    struct pl_tls_layer *tls = conn->layers->tls;
    int result;
    do {
        result = gnutls_handshake(tls->session);
    } while (result < 0 && result != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(result));
    pl_output_touch(&conn->out);
    if (result == GNUTLS_E_AGAIN)
        return false;
    if (result < 0) {
        fail(conn, result);
        return false;
    }
    tls->is_ready = true;
    if (pl_tls_is_challenge(tls->session)) {
        /* It has seen what it came for (RFC 8737, section 3). */
        pl_conn_close(conn, PL_OK, NULL);
        return false;
    }
    if (conn->listener->ops->on_secured)
        conn->listener->ops->on_secured(conn);
    return true;
}

/* Decrypts into the region. False: there is no more for now. */
static bool decrypt(struct pl_conn *conn, const struct pl_region *region, size_t *out_len)
{
    struct pl_tls_layer *tls = conn->layers->tls;
    uint8_t *to = region->at + region->tail_len;
    size_t room = region->room;
    *out_len = 0;
    while (room >= RECORD_MAX) {
        ssize_t n = gnutls_record_recv(tls->session, to, room);
        if (n > 0) {
            to += n;
            room -= (size_t)n;
            *out_len += (size_t)n;
        } else if (n == 0) {
            tls->in_len = 0;
            pl_conn_on_eof(conn);
            return false;
        } else if (n == GNUTLS_E_AGAIN) {
            return false;
        } else if (n == GNUTLS_E_REHANDSHAKE && tls->refusals < REFUSALS_MAX) {
            tls->refusals++;
            (void)gnutls_alert_send(tls->session, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION);
            pl_output_touch(&conn->out);
        } else if (n == GNUTLS_E_REHANDSHAKE || gnutls_error_is_fatal((int)n)) {
            fail(conn, (int)n);
            return false;
        }
    }
    return true;
}

void pl_tls_layer_feed(struct pl_conn *conn, const uint8_t *bytes, size_t len)
{
    struct pl_tls_layer *tls = conn->layers->tls;
    if (tls->is_broken || (!tls->is_ready && conn->state != CONN_OPEN))
        return;
    tls->in = bytes;
    tls->in_len = len;
    if (tls->is_ready || shake_hands(conn)) {
        bool more = true;
        while (more && !tls->is_broken && conn->state != CONN_GONE) {
            struct pl_region region;
            size_t got;
            if (pl_input_region(conn, &region) != PL_OK) {
                fail(conn, GNUTLS_E_MEMORY_ERROR);
                break;
            }
            more = decrypt(conn, &region, &got);
            if (got)
                pl_input_commit(conn, &region, got);
        }
    }
    /* A key update may have been answered. */
    if (conn->layers->wire.head)
        pl_output_touch(&conn->out);
    tls->in = NULL;
    tls->in_len = 0;
}

enum pl_err pl_tls_layer_encrypt(struct pl_conn *conn)
{
    struct pl_tls_layer *tls = conn->layers->tls;
    struct pl_chain *plain = &conn->layers->plain;
    uint8_t record[RECORD_MAX];
    while (plain->head) {
        const uint8_t *from = plain->head->data;
        size_t len = plain->head->len;
        if (len < RECORD_MAX && plain->head->next) {
            /* Several runs make one record. */
            len = 0;
            for (const struct pl_chunk *c = plain->head; c && len < RECORD_MAX; c = c->next) {
                size_t part = c->len < RECORD_MAX - len ? c->len : RECORD_MAX - len;
                memcpy(record + len, c->data, part);
                len += part;
            }
            from = record;
        }
        ssize_t sent = len ? gnutls_record_send(tls->session, from, len) : 0;
        if (sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED)
            continue; /* the wire takes everything, so this is GnuTLS' own business, and ends */
        if (sent < 0) {
            tls->is_broken = true;
            return sent == GNUTLS_E_MEMORY_ERROR || sent == GNUTLS_E_PUSH_ERROR ? PL_NO_MEMORY
                                                                                : PL_IO;
        }
        pl_chunk_advance(conn->reactor->outputs, &plain->head, (size_t)sent);
    }
    plain->tail = NULL;
    return PL_OK;
}

void pl_tls_layer_goodbye(struct pl_conn *conn)
{
    (void)gnutls_bye(conn->layers->tls->session, GNUTLS_SHUT_WR);
}
