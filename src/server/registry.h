/*
 * The one place that knows protocols by name.
 */
#ifndef PL_SERVER_REGISTRY_H
#define PL_SERVER_REGISTRY_H

#include "protocols/mles/mles.h"
#include "protocols/mqtt/mqtt.h"
#include "protocols/nats/nats.h"
#include "protocols/protocol.h"
#include "protocols/wamp/wamp.h"

struct pl_config;

/* NULL-terminated. In the order in which a shared port asks them about first bytes. */
extern const struct pl_protocol *const pl_registry_protocols[];

/* NULL: no such protocol. */
const struct pl_protocol *pl_registry_find(const char *name);
/* The protocols' own keys, as they want them. */
struct pl_protocol_options {
    struct pl_mqtt_options mqtt;
    struct pl_nats_options nats;
    struct pl_wamp_options wamp;
    struct pl_mles_options mles;
};

/* Its clients may show a secret of their own: then a web page's Origin alone says nothing. */
bool pl_registry_has_login(const struct pl_protocol *protocol, const struct pl_config *config);
void pl_registry_fill(const struct pl_config *config, struct pl_protocol_options *out);
/* Of these what pl_link_config.options of that protocol points to; NULL: it has none. */
const void *pl_registry_options(
    const struct pl_protocol *protocol, const struct pl_protocol_options *options);
/* "mqtt, nats, redis, wamp, mles", for people. */
const char *pl_registry_names(void);

#endif
