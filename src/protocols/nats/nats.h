/*
 * The NATS client protocol: core NATS as nats-server 2.9 speaks it. docs/reference/nats.md tells
 * what is the same, what differs, and how names, headers and errors are mapped.
 */
#ifndef PL_PROTOCOLS_NATS_NATS_H
#define PL_PROTOCOLS_NATS_NATS_H

#include "protocols/protocol.h"

extern const struct pl_protocol pl_nats_protocol;

/* link->config->options; NULL: the defaults. */
struct pl_nats_options {
    uint32_t payload_max; /* what INFO announces before the login tells the realm; 0: the default */
};

#endif
