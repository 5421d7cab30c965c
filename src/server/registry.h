/*
 * The one place that knows protocols by name.
 */
#ifndef PL_SERVER_REGISTRY_H
#define PL_SERVER_REGISTRY_H

#include "protocols/protocol.h"

/* NULL-terminated. In the order in which a shared port asks them about first bytes. */
extern const struct pl_protocol *const pl_registry_protocols[];

/* NULL: no such protocol. */
const struct pl_protocol *pl_registry_find(const char *name);
/* "mqtt, nats, redis", for people. */
const char *pl_registry_names(void);

#endif
