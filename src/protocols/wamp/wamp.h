/*
 * WAMP v2 as a protocol of the server (protocols/protocol.h): the router's side of the basic and
 * the advanced profile, over WebSocket and RawSocket, in JSON, MessagePack and CBOR.
 *
 * A URI is a subject as it stands; core/subject.h has the escapes.
 */
#ifndef PL_PROTOCOLS_WAMP_H
#define PL_PROTOCOLS_WAMP_H

#include "codec/wamp.h"
#include "protocols/protocol.h"

/* What pl_link_config.options points to; NULL means pl_wamp_options_default. */
struct pl_wamp_options {
    bool strict_uri;              /* components are of a-z, 0-9 and _ */
    bool strict_features;         /* what a peer did not announce is not given to it */
    bool strict_ids;              /* a client's request ids count from 1 without a gap */
    bool allow_disclose;          /* disclose_me is granted */
    uint8_t plain;                /* enum pl_wamp_plain: how payloads of other protocols are read */
    uint32_t details_max;         /* bytes of HELLO's Details */
    uint32_t audience_max;        /* entries in all lists of one publication */
    uint32_t headers_max;         /* x_… and ppt_… of one message */
    uint32_t testaments_max;      /* of one session */
    uint32_t testament_bytes_max; /* and what they hold */
    uint32_t events_max;          /* entries of one answer of get_events */
    uint32_t event_reads_max;     /* get_events that run at a time */
};

extern const struct pl_wamp_options pl_wamp_options_default;
extern const struct pl_protocol pl_wamp_protocol;

#endif
