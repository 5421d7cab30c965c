/*
 * WAMP messages (wamp-proto.org, basic and advanced profile) in three serializers, and what travels
 * in them: arguments.
 *
 * A message is one list: its type, then elements whose kinds depend on the type (wamp.def). The
 * payload, Arguments and ArgumentsKw, stays as it stands: bytes from the first byte of Arguments to
 * the last of ArgumentsKw (in JSON with the comma between them), empty if there is none. It is
 * checked when it is read and never parsed again where the receiver's serializer is the same.
 *
 * Used by the protocol, the client library and tools. Pure.
 */
#ifndef PL_CODEC_WAMP_H
#define PL_CODEC_WAMP_H

#include "codec/value.h"

enum pl_wamp_type {
#define PL_WAMP(name, code, shape) PL_WAMP_##name = (code),
#include "codec/wamp.def"
#undef PL_WAMP
};

enum { PL_WAMP_IDS_MAX = 2 };

/* Borrowed from the bytes that were decoded. */
struct pl_wamp {
    uint32_t type;
    uint8_t serializer; /* enum pl_serializer */
    uint8_t id_count;
    uint64_t ids[PL_WAMP_IDS_MAX]; /* in order: request, then subscription, registration, … */
    uint32_t request_type;         /* ERROR */
    struct pl_value details;       /* Details, Options or Extra; kind NULL: left out */
    struct pl_value text;          /* the URI, method or signature */
    struct pl_bytes payload;
};

/*
 * One whole message. PL_MALFORMED: not a list, cut off, something behind it, an element of the
 * wrong kind or missing; PL_UNSUPPORTED: a type that is unknown (out->type says which). diag may be
 * NULL. More elements than known are left out. An id may be an integral float. ids may be 0 where
 * the standard has 0 (UNSUBSCRIBED, UNREGISTERED by the router); id range is the caller's to
 * refuse.
 */
PL_MUST_USE enum pl_err pl_wamp_decode(enum pl_serializer serializer, struct pl_bytes message,
    struct pl_wamp *out, struct pl_diag *diag);
/* "PUBLISH"; NULL: unknown. */
const char *pl_wamp_type_name(uint32_t type);

/*
 * The plain form (DESIGN section 2). From plain: empty is no arguments; content type
 * application/x-wamp+json, or valid JSON that is exactly {"args": [...], "kwargs": {...}}: these;
 * what begins with { or [ and is valid JSON: that value; valid UTF-8: a string; else binary. To
 * plain: no arguments: empty; one string or binary alone: its bytes; one other alone: its JSON;
 * else {"args": …, "kwargs": …}.
 */
enum pl_wamp_plain { PL_WAMP_PLAIN_AUTO, PL_WAMP_PLAIN_JSON, PL_WAMP_PLAIN_RAW };

/*
 * Begins a message of this type: opens the list and writes the type. The elements follow by
 * pl_put_…; pl_wamp_end writes the payload (of any serializer, transcoded if need be; may be empty)
 * and closes the list.
 *
 *     struct pl_value_writer v = pl_wamp_begin(&w, PL_SERIAL_JSON, PL_WAMP_RESULT);
 *     pl_put_natural(&v, request);
 *     pl_put_dict(&v);
 *     pl_put_end(&v);
 *     pl_wamp_end(&v, PL_SERIAL_CBOR, payload);
 */
struct pl_value_writer pl_wamp_begin(
    struct pl_writer *w, enum pl_serializer serializer, enum pl_wamp_type type);
void pl_wamp_end(
    struct pl_value_writer *v, enum pl_serializer payload_serializer, struct pl_bytes payload);
/* The same with a plain payload (of a protocol without arguments), see below. */
void pl_wamp_end_plain(struct pl_value_writer *v, struct pl_bytes plain,
    struct pl_bytes content_type, enum pl_wamp_plain rule);

/* Arguments and ArgumentsKw of a payload that was checked before; kind NULL: left out. Arguments
 * may be BINARY (payload passthru). */
void pl_wamp_arguments(enum pl_serializer serializer, struct pl_bytes payload,
    struct pl_value *out_args, struct pl_value *out_kwargs);

/* Appends the plain form. */
void pl_wamp_write_plain(
    struct pl_writer *w, enum pl_serializer serializer, struct pl_bytes payload);

#endif
