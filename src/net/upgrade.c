#include "net/upgrade.h"

#include <gnutls/crypto.h>

#include "base/text.h"
#include "codec/websocket.h"
#include "net/state.h"

static enum pl_err refuse(struct pl_upgrade *out, unsigned status)
{
    out->status = status;
    return status == 426 ? PL_UNSUPPORTED : PL_MALFORMED;
}

bool pl_upgrade_is_asked(const struct pl_http_request *request)
{
    return pl_http_header_has(request, "upgrade", "websocket") &&
           pl_http_header_has(request, "connection", "upgrade");
}

/* The first of the client's that is in the list; PL_MALFORMED: a value that is no list of names. */
static enum pl_err pick_subprotocol(
    const struct pl_http_request *request, const char *const *subprotocols, struct pl_upgrade *out)
{
    for (uint32_t i = 0; i < request->header_count; i++) {
        if (!pl_bytes_equal_nocase(request->headers[i].name, PL_BYTES("sec-websocket-protocol")))
            continue;
        struct pl_bytes list = request->headers[i].value, name;
        while (pl_http_next_element(&list, &name)) {
            if (memchr(name.data, ' ', name.len) || memchr(name.data, '"', name.len))
                return PL_MALFORMED;
            out->asked_subprotocol = true;
            for (size_t j = 0; subprotocols && subprotocols[j] && !out->subprotocol; j++)
                if (pl_bytes_equal(name, pl_bytes_text(subprotocols[j])))
                    out->subprotocol = subprotocols[j];
        }
    }
    return PL_OK;
}

static enum pl_err negotiate_deflate(const struct pl_http_request *request, struct pl_upgrade *out)
{
    for (uint32_t i = 0; i < request->header_count && !out->has_deflate; i++) {
        if (!pl_bytes_equal_nocase(request->headers[i].name, PL_BYTES("sec-websocket-extensions")))
            continue;
        enum pl_err err = pl_deflate_negotiate(request->headers[i].value, &out->deflate);
        if (err == PL_MALFORMED)
            return err;
        out->has_deflate = err == PL_OK;
    }
    return PL_OK;
}

enum pl_err pl_upgrade_check(const struct pl_http_request *request, struct pl_bytes rest,
    const char *const *subprotocols, bool allows_deflate, struct pl_upgrade *out)
{
    *out = (struct pl_upgrade){0};
    if (!pl_bytes_equal(request->method, PL_BYTES("GET")))
        return refuse(out, 405);
    if (!pl_upgrade_is_asked(request))
        return refuse(out, 426);
    /* A body or early frames would be read as something else by whoever refuses the upgrade. */
    if (request->minor < 1 || request->content_length || request->is_chunked || rest.len)
        return refuse(out, 400);
    if (pl_http_header_count(request, "sec-websocket-version") != 1 ||
        !pl_bytes_equal(pl_http_header(request, "sec-websocket-version"), PL_BYTES("13")))
        return refuse(out, 426);
    if (pl_http_header_count(request, "sec-websocket-key") != 1 ||
        !pl_websocket_is_key(pl_http_header(request, "sec-websocket-key")))
        return refuse(out, 400);
    if (pick_subprotocol(request, subprotocols, out) != PL_OK ||
        (allows_deflate && negotiate_deflate(request, out) != PL_OK))
        return refuse(out, 400);
    return PL_OK;
}

enum pl_err pl_upgrade_answer_key(struct pl_bytes key, char out[PL_UPGRADE_KEY_ANSWER])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[24 + sizeof guid - 1], digest[20];
    if (key.len != 24)
        return PL_MALFORMED;
    memcpy(text, key.data, 24);
    memcpy(text + 24, guid, sizeof guid - 1);
    if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, sizeof text, digest) < 0)
        return PL_NO_MEMORY;
    pl_base64_encode(pl_bytes_of(digest, sizeof digest), false, out);
    return PL_OK;
}

enum pl_err pl_upgrade_accept(struct pl_conn *conn, const struct pl_http_request *request,
    const struct pl_upgrade *up, struct pl_websocket_options options)
{
    char accept[PL_UPGRADE_KEY_ANSWER], extensions[PL_DEFLATE_ANSWER_MAX];
    enum pl_err err = pl_upgrade_answer_key(pl_http_header(request, "sec-websocket-key"), accept);
    if (err)
        return err;
    struct pl_writer w = pl_writer_begin(pl_conn_output(conn));
    pl_write_text(&w, "HTTP/1.1 101 Switching Protocols\r\n"
                      "Upgrade: websocket\r\n"
                      "Connection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: ");
    pl_write_bytes(&w, pl_bytes_of(accept, sizeof accept));
    if (up->subprotocol) {
        pl_write_text(&w, "\r\nSec-WebSocket-Protocol: ");
        pl_write_text(&w, up->subprotocol);
    }
    if (up->has_deflate) {
        size_t len = pl_deflate_answer(&up->deflate, extensions);
        pl_write_text(&w, "\r\nSec-WebSocket-Extensions: ");
        pl_write_bytes(&w, pl_bytes_of(extensions, len));
    }
    pl_write_text(&w, "\r\n");
    pl_write_bytes(&w, up->more);
    pl_write_text(&w, "\r\n");
    err = pl_writer_end(&w);
    if (err)
        return err;
    options.deflate = up->has_deflate ? &up->deflate : NULL;
    return pl_conn_set_websocket(conn, &options);
}

void pl_conn_answer(struct pl_conn *conn, const struct pl_http_answer *answer)
{
    struct pl_writer w = pl_writer_begin(pl_conn_output(conn));
    pl_http_write_answer(&w, answer);
    if (pl_writer_end(&w) != PL_OK)
        pl_conn_abort(conn, PL_NO_MEMORY);
    else if (!answer->keeps_alive)
        pl_conn_close(conn, PL_OK, NULL);
}

void pl_conn_answer_status(struct pl_conn *conn, unsigned status)
{
    struct pl_http_answer answer = {
        .status = status,
        .type = "text/plain; charset=utf-8",
        .body = pl_bytes_text(pl_http_reason(status)),
    };
    if (status == 426)
        answer.more = PL_BYTES("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    else if (status == 405)
        answer.more = PL_BYTES("Allow: GET\r\n");
    else if (status == 401)
        answer.more = PL_BYTES("WWW-Authenticate: Bearer\r\n");
    pl_conn_answer(conn, &answer);
}
