/*
 * Logins that are remembered for a cookie: who logged in on a WebSocket that came with it, or was
 * given it, comes in again with it.
 *
 * In memory, bounded: the one that was used longest ago goes first. A cookie is random, made by us;
 * only a hash of it is kept. Thread-safe. It reads no clock.
 */
#ifndef PL_AUTH_COOKIES_H
#define PL_AUTH_COOKIES_H

#include "core/identity.h"

struct pl_cookies;

PL_MUST_USE struct pl_cookies *pl_cookies_new(uint32_t count_max, uint64_t lifetime_ms);
/* Returns NULL; accepts NULL. */
struct pl_cookies *pl_cookies_free(struct pl_cookies *cookies);

/* From now on this cookie is that identity's, whose reference is not taken over. */
void pl_cookies_remember(struct pl_cookies *cookies, struct pl_bytes cookie,
    struct pl_identity *identity, uint64_t now_unix_ms);
/* One reference, and its time begins anew; NULL: unknown, or over. */
PL_MUST_USE struct pl_identity *pl_cookies_find(
    struct pl_cookies *cookies, struct pl_bytes cookie, uint64_t now_unix_ms);
void pl_cookies_forget(struct pl_cookies *cookies, struct pl_bytes cookie);

#endif
