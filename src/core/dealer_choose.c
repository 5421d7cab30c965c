/* Whom to ask: the policies of a registration (WAMP, "Shared Registration"). */
#include "core/realm_state.h"

static bool was_tried(const struct pl_call *call, const struct pl_callee *callee)
{
    for (uint32_t i = 0; call && i < call->tried_count; i++)
        if (call->tried[i] == callee->session->id)
            return true;
    return false;
}

static bool is_free(const struct pl_call *call, const struct pl_callee *callee)
{
    bool is_busy = callee->concurrency && callee->open_calls >= callee->concurrency;
    return !is_busy && !was_tried(call, callee);
}

static struct pl_callee *first_free(
    const struct pl_call *call, struct pl_callee *from, const struct pl_callee *until)
{
    for (struct pl_callee *c = from; c && c != until; c = c->next)
        if (is_free(call, c))
            return c;
    return NULL;
}

static struct pl_callee *last_free(const struct pl_call *call, const struct pl_registration *reg)
{
    struct pl_callee *found = NULL;
    for (struct pl_callee *c = reg->first; c; c = c->next)
        if (is_free(call, c))
            found = c;
    return found;
}

static struct pl_callee *random_free(
    struct pl_realm *realm, const struct pl_call *call, const struct pl_registration *reg)
{
    uint32_t count = 0;
    for (struct pl_callee *c = reg->first; c; c = c->next)
        count += is_free(call, c);
    uint32_t left = count > 1 ? pl_random_below(&realm->random, count) : 0;
    for (struct pl_callee *c = reg->first; c; c = c->next)
        if (is_free(call, c) && !left--)
            return c;
    return NULL;
}

static struct pl_callee *round_robin(const struct pl_call *call, struct pl_registration *reg)
{
    struct pl_callee *start = reg->turn ? reg->turn->next : reg->first;
    struct pl_callee *callee = first_free(call, start, NULL);
    if (!callee)
        callee = first_free(call, reg->first, start);
    if (callee)
        reg->turn = callee;
    return callee;
}

struct pl_callee *pl_dealer_choose(
    struct pl_realm *realm, const struct pl_call *call, struct pl_registration *reg)
{
    switch ((enum pl_invoke)reg->invoke) {
    case PL_INVOKE_SINGLE:
    case PL_INVOKE_FIRST:
        return first_free(call, reg->first, NULL);
    case PL_INVOKE_LAST:
        return last_free(call, reg);
    case PL_INVOKE_RANDOM:
        return random_free(realm, call, reg);
    case PL_INVOKE_ROUNDROBIN:
        return round_robin(call, reg);
    }
    return NULL;
}
