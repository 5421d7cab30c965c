#include "core/registrations.h"

#include "base/alloc.h"
#include "base/hash.h"

void pl_registrations_init(struct pl_registrations *all, uint64_t seed)
{
    *all = (struct pl_registrations){.seed = seed};
    pl_tree_init(&all->tree, seed);
}

void pl_registrations_done(struct pl_registrations *all)
{
    pl_literals_done(&all->literals);
    pl_tree_done(&all->tree);
    pl_free(all->places.items);
}

static int rank(const struct pl_pattern *p)
{
    return p->is_literal ? 2 : p->kind == PL_PATTERN_PREFIX ? 1 : 0;
}

/* The length of the run of literal tokens from *at on; moves *at behind it and what parts it from
 * the next one. */
static uint32_t next_run(const struct pl_pattern *p, uint32_t *at)
{
    uint32_t len = 0;
    while (*at < p->token_count && p->tokens[*at].kind == PL_TOKEN_LITERAL) {
        len++;
        ++*at;
    }
    while (*at < p->token_count && p->tokens[*at].kind != PL_TOKEN_LITERAL)
        ++*at;
    return len;
}

bool pl_pattern_precedes(const struct pl_pattern *a, const struct pl_pattern *b)
{
    if (rank(a) != rank(b))
        return rank(a) > rank(b);
    if (rank(a) > 0)
        return a->text.len > b->text.len;
    uint32_t i = 0, j = 0;
    while (i < a->token_count || j < b->token_count) {
        uint32_t x = next_run(a, &i), y = next_run(b, &j);
        if (x != y)
            return x > y;
    }
    return false;
}

static struct pl_registration *of_place(struct pl_subscription *place)
{
    return PL_CONTAINER(place, struct pl_registration, place);
}

struct pl_registration *pl_registrations_match(struct pl_registrations *all, struct pl_bytes name)
{
    struct pl_registration *best = NULL;
    if (!all->count)
        return NULL;
    all->places.count = 0;
    enum pl_err err = pl_literals_find(&all->literals, pl_hash(all->seed, name), &all->places);
    if (!err && all->tree.sub_count)
        err = pl_tree_find(&all->tree, name, &all->places);
    if (err)
        return NULL;
    for (uint32_t i = 0; i < all->places.count; i++) {
        struct pl_subscription *place = all->places.items[i].subs;
        for (; place; place = place->node_next)
            if (pl_pattern_matches(place->pattern, name) &&
                (!best || pl_pattern_precedes(place->pattern, best->place.pattern)))
                best = of_place(place);
    }
    return best;
}

struct pl_registration *pl_registrations_find(
    struct pl_registrations *all, const struct pl_pattern *pattern)
{
    all->places.count = 0;
    enum pl_err err = pattern->is_literal ? pl_literals_find(&all->literals,
                                                pl_hash(all->seed, pattern->text), &all->places)
                                          : pl_tree_find(&all->tree, pattern->text, &all->places);
    for (uint32_t i = 0; !err && i < all->places.count; i++)
        for (struct pl_subscription *p = all->places.items[i].subs; p; p = p->node_next)
            if (pl_pattern_equal(p->pattern, pattern))
                return of_place(p);
    return NULL;
}

static enum pl_err index_registration(struct pl_registrations *all, struct pl_registration *r)
{
    const struct pl_pattern *pattern = r->place.pattern;
    return pattern->is_literal
               ? pl_literals_add(&all->literals, &r->place, pl_hash(all->seed, pattern->text))
               : pl_tree_add(&all->tree, &r->place);
}

static enum pl_err make_registration(
    struct pl_registrations *all, const struct pl_callee *callee, struct pl_registration **out)
{
    struct pl_registration *r = pl_zalloc(sizeof *r);
    if (!r)
        return PL_NO_MEMORY;
    r->place.pattern = pl_pattern_ref(callee->pattern);
    r->invoke = callee->invoke;
    if (index_registration(all, r)) {
        pl_pattern_unref(r->place.pattern);
        pl_free(r);
        return PL_NO_MEMORY;
    }
    r->id = ++all->made;
    all->count++;
    *out = r;
    return PL_OK;
}

enum pl_err pl_registrations_add(struct pl_registrations *all, struct pl_callee *callee)
{
    struct pl_registration *r = pl_registrations_find(all, callee->pattern);
    if (r && (r->invoke == PL_INVOKE_SINGLE || r->invoke != callee->invoke))
        return PL_EXISTS;
    for (struct pl_callee *c = r ? r->first : NULL; c; c = c->next)
        if (c->session == callee->session)
            return PL_EXISTS;
    if (!r) {
        enum pl_err err = make_registration(all, callee, &r);
        if (err)
            return err;
    }
    callee->registration = r;
    callee->next = NULL;
    callee->at = r->last ? &r->last->next : &r->first;
    *callee->at = callee;
    r->last = callee;
    r->callee_count++;
    return PL_OK;
}

/* The callee before this one; NULL: it is the first. */
static struct pl_callee *before(const struct pl_registration *r, const struct pl_callee *callee)
{
    return r->first == callee ? NULL : PL_CONTAINER(callee->at, struct pl_callee, next);
}

void pl_registrations_remove(struct pl_registrations *all, struct pl_callee *callee, bool *out_last)
{
    struct pl_registration *r = callee->registration;
    struct pl_callee *previous = before(r, callee);
    if (r->turn == callee)
        r->turn = previous;
    *callee->at = callee->next;
    if (callee->next)
        callee->next->at = callee->at;
    else
        r->last = previous;
    r->callee_count--;
    callee->registration = NULL;
    callee->pattern = pl_pattern_unref(callee->pattern);
    *out_last = !r->callee_count;
    if (r->callee_count)
        return;
    if (r->place.pattern->is_literal)
        pl_literals_remove(&all->literals, &r->place, pl_hash(all->seed, r->place.pattern->text));
    else
        pl_tree_remove(&all->tree, &r->place);
    pl_pattern_unref(r->place.pattern);
    pl_free(r);
    all->count--;
}
