/*
 * Redis pub/sub: RESP2 and RESP3. A channel is the subject itself, a PSUBSCRIBE pattern is a glob
 * over the whole subject; what the commands do and where they differ from redis-server is told in
 * docs/reference/redis.md.
 */
#ifndef PL_PROTOCOLS_REDIS_REDIS_H
#define PL_PROTOCOLS_REDIS_REDIS_H

#include "protocols/protocol.h"

extern const struct pl_protocol pl_redis_protocol;

#endif
