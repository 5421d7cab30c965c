/*
 * The NATS client protocol as packets, both directions: what a server reads is what a client
 * writes. Pure; shared by the protocol's session and the command line's client.
 *
 *     CONNECT {json}                        INFO {json}
 *     PUB subject [reply] size              MSG subject sid [reply] size
 *     HPUB subject [reply] head size        HMSG subject sid [reply] head size
 *     SUB subject [queue] sid               UNSUB sid [max]
 *     PING  PONG  +OK  -ERR 'text'
 *
 * A control line ends with LF or CRLF; verbs are of either case; arguments are parted by spaces and
 * tabs. Behind the line of PUB, HPUB, MSG and HMSG stand `size` bytes and CRLF, of which the first
 * `head` bytes are a header block:
 *
 *     NATS/1.0[ status[ text]] CRLF { name ":" value CRLF } CRLF
 *
 * What is accepted and refused is what nats-server 2.9 accepts and refuses.
 */
#ifndef PL_CODEC_NATS_H
#define PL_CODEC_NATS_H

#include "base/bytes.h"
#include "base/output.h"

enum pl_nats_verb {
    PL_NATS_PUB,
    PL_NATS_HPUB,
    PL_NATS_SUB,
    PL_NATS_UNSUB,
    PL_NATS_CONNECT,
    PL_NATS_PING,
    PL_NATS_PONG,
    PL_NATS_OK,
    PL_NATS_ERR,
    PL_NATS_INFO,
    PL_NATS_MSG,
    PL_NATS_HMSG,
};

/* A control line, decoded. Everything lies in the input. */
struct pl_nats_line {
    uint8_t verb;            /* enum pl_nats_verb */
    struct pl_bytes subject; /* PUB, HPUB, SUB, MSG, HMSG */
    struct pl_bytes reply;   /* PUB, HPUB, MSG, HMSG; empty: none */
    struct pl_bytes queue;   /* SUB; empty: none */
    struct pl_bytes sid;     /* SUB, UNSUB, MSG, HMSG */
    struct pl_bytes text;    /* CONNECT, INFO, -ERR: all of the argument */
    uint32_t size;           /* PUB, HPUB, MSG, HMSG: bytes behind the line, without their CRLF */
    uint32_t head_size;      /* HPUB, HMSG: of these, the header block */
    uint32_t max;            /* UNSUB; 0: at once */
};

/* Sizes on the wire have at most nine digits, as in nats-server. */
enum { PL_NATS_SIZE_MAX = 999999999 };

/*
 * The verb at the start of `in`, as far as it is there: PL_NEED_MORE if more than one is still
 * possible or it has not been seen whole, PL_MALFORMED as soon as no verb begins so.
 */
PL_MUST_USE enum pl_err pl_nats_read_verb(struct pl_bytes in, enum pl_nats_verb *out);

/*
 * One control line.
 *
 * line_max   bytes that the arguments may have
 * out_used   bytes of the line with its end
 *
 * PL_NEED_MORE: no end of line yet. PL_MALFORMED: no such verb ("Unknown Protocol Operation").
 * PL_PROTOCOL: a known verb with wrong arguments. PL_TOO_LARGE: over line_max.
 */
PL_MUST_USE enum pl_err pl_nats_read_line(
    struct pl_bytes in, size_t line_max, struct pl_nats_line *out, size_t *out_used);

/*
 * What stands behind the line: `size` bytes and CRLF. *out_used counts both. PL_MALFORMED: no CRLF
 * there.
 */
PL_MUST_USE enum pl_err pl_nats_read_payload(
    struct pl_bytes in, uint32_t size, struct pl_bytes *out_payload, size_t *out_used);

/* A header block, line by line. */
struct pl_nats_head {
    struct pl_bytes rest;
};

/*
 * Begins: *out_status is what follows "NATS/1.0", trimmed ("503", "408 Request Timeout"; mostly
 * empty). PL_MALFORMED: the block does not begin so.
 */
PL_MUST_USE enum pl_err pl_nats_head_begin(
    struct pl_nats_head *h, struct pl_bytes block, struct pl_bytes *out_status);
/* The next header, its value without spaces around it; false at the end. Lines without a colon are
 * passed over. */
bool pl_nats_head_next(
    struct pl_nats_head *h, struct pl_bytes *out_name, struct pl_bytes *out_value);

/* What a client says of itself (CONNECT). Strings lie in `memory`; unset ones are empty. */
struct pl_nats_connect {
    bool verbose, pedantic, echo, headers, no_responders, tls_required;
    int64_t protocol; /* 1: takes INFO at any time */
    bool has_user, has_pass, has_token, has_jwt;
    struct pl_bytes user, pass, auth_token, jwt, name, lang, version;
    struct pl_bytes account; /* not offered: asking for one is refused */
};

/* What is so before CONNECT, and what a CONNECT leaves out. */
extern const struct pl_nats_connect pl_nats_connect_default;

/*
 * Reads CONNECT's JSON over what *io holds, as nats-server does: unknown members are ignored, names
 * are of any case, null changes nothing.
 *
 * memory     at least text.len bytes; the strings are put there
 *
 * PL_MALFORMED: no JSON object, or a member of the wrong type; *io is partly written.
 */
PL_MUST_USE enum pl_err pl_nats_read_connect(
    struct pl_bytes text, uint8_t *memory, struct pl_nats_connect *io);
void pl_nats_write_connect(struct pl_writer *w, const struct pl_nats_connect *connect);

/* What a server says of itself (INFO). */
struct pl_nats_info {
    struct pl_bytes server_id, server_name, version, build, host, client_ip;
    uint64_t client_id;
    uint32_t max_payload;
    uint16_t port;
    bool headers, auth_required, tls_required, tls_available, ldm;
};

/* INFO's JSON, as pl_nats_read_connect reads: the client's view; strings other than these members
 * are ignored. */
PL_MUST_USE enum pl_err pl_nats_read_info(
    struct pl_bytes text, uint8_t *memory, struct pl_nats_info *io);
void pl_nats_write_info(struct pl_writer *w, const struct pl_nats_info *info);

/* Client's lines. reply, queue: empty is none. max 0: at once. head: a whole block, or empty. */
void pl_nats_write_pub(struct pl_writer *w, struct pl_bytes subject, struct pl_bytes reply,
    struct pl_bytes head, struct pl_bytes payload);
void pl_nats_write_sub(
    struct pl_writer *w, struct pl_bytes subject, struct pl_bytes queue, struct pl_bytes sid);
void pl_nats_write_unsub(struct pl_writer *w, struct pl_bytes sid, uint32_t max);

/* MSG, line and payload, in one piece: this is what a server does all day. payload.len is at most
 * PL_NATS_SIZE_MAX. */
void pl_nats_write_msg(struct pl_writer *w, struct pl_bytes subject, struct pl_bytes sid,
    struct pl_bytes reply, struct pl_bytes payload);
/* HMSG's line; the header block, the payload and CRLF follow. */
void pl_nats_write_hmsg_line(struct pl_writer *w, struct pl_bytes subject, struct pl_bytes sid,
    struct pl_bytes reply, uint32_t head_size, uint32_t size);
/* -ERR 'text'. */
void pl_nats_write_err(struct pl_writer *w, struct pl_bytes text);

#endif
