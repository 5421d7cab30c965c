/*
 * A match set is one block: the struct, then its arrays, the subject last.
 *
 * Targets are ordered by (worker, ops, form), so that parts and groups are runs of them. Mostly
 * there are few, or they come in order already; else they are merge sorted, for a hundred thousand
 * subscribers of one subject must not cost their square.
 */
#include "core/match_set.h"

#include "base/alloc.h"
#include "core/session.h"

struct set_block {
    size_t size; /* bytes of the block */
    struct pl_match match;
};

static struct set_block *block_of(struct pl_match *match)
{
    return PL_CONTAINER(match, struct set_block, match);
}

struct pl_match *pl_match_ref(struct pl_match *match)
{
    atomic_fetch_add_explicit(&match->refs, 1, memory_order_relaxed);
    return match;
}

struct pl_match *pl_match_unref(struct pl_match *match)
{
    if (match && atomic_fetch_sub_explicit(&match->refs, 1, memory_order_acq_rel) == 1)
        pl_free(block_of(match));
    return NULL;
}

size_t pl_set_size(struct pl_match *match)
{
    return block_of(match)->size;
}

bool pl_set_is_mine(struct pl_match *match)
{
    return atomic_load_explicit(&match->refs, memory_order_acquire) == 1;
}

void pl_set_builder_done(struct pl_set_builder *b)
{
    pl_free(b->targets);
    pl_free(b->members);
    pl_free(b->scratch);
    *b = (struct pl_set_builder){0};
}

static enum pl_err make_room(struct pl_found **list, uint32_t *cap, uint32_t need)
{
    if (__builtin_expect(need <= *cap, 1))
        return PL_OK;
    uint32_t more = *cap ? *cap * 2 : 64;
    while (more < need)
        more *= 2;
    struct pl_found *grown = pl_realloc(*list, more * sizeof *grown);
    if (!grown)
        return PL_NO_MEMORY;
    *list = grown;
    *cap = more;
    return PL_OK;
}

static bool may_have(
    const struct pl_subscription *sub, uint8_t tests, struct pl_bytes subject, bool is_logged)
{
    if (tests) {
        if (tests & PL_TEST_PATTERN && !pl_pattern_matches(sub->pattern, subject))
            return false;
        if (tests & PL_TEST_DOLLAR && sub->pattern->spares_dollar)
            return false;
    }
    if (sub->is_recovering && is_logged)
        return false;
    return !sub->is_filtered || pl_identity_may_receive(sub->session->identity, subject);
}

/* The struct and the begin of the text behind it. */
static void prefetch_pattern(const struct pl_pattern *p)
{
    __builtin_prefetch(p);
    __builtin_prefetch((const char *)p + 64);
}

/* The session's target among the first `count` that shares its copies with another. */
static struct pl_found *sharing(
    const struct pl_set_builder *b, uint32_t count, const struct pl_session *session)
{
    struct pl_found *it = session->match_at < count ? &b->targets[session->match_at] : NULL;
    return it && it->sub->session == session && it->sub->flags & PL_SUB_ONCE ? it : NULL;
}

/* One target of each session for all that want one copy together. */
static void merge_copies(struct pl_set_builder *b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < b->target_count; i++) {
        struct pl_subscription *sub = b->targets[i].sub;
        bool is_once = sub->flags & PL_SUB_ONCE;
        struct pl_found *other = is_once ? sharing(b, count, sub->session) : NULL;
        if (other) {
            if (sub->qos > other->sub->qos)
                *other = b->targets[i];
            continue;
        }
        if (is_once)
            sub->session->match_at = count;
        b->targets[count++] = b->targets[i];
    }
    b->target_count = count;
}

static enum pl_err collect(struct pl_set_builder *b, const struct pl_places *places,
    struct pl_bytes subject, bool is_logged)
{
    b->target_count = 0;
    b->member_count = 0;
    /* Literals were found first and come last: their text has been fetched meanwhile. */
    for (uint32_t i = 0; i < places->count && places->items[i].tests & PL_TEST_NAME; i++)
        prefetch_pattern(places->items[i].subs->pattern);
    for (uint32_t i = places->count; i--;) {
        const struct pl_place *place = &places->items[i];
        if (place->tests & PL_TEST_NAME && !pl_bytes_equal(place->subs->pattern->text, subject))
            continue;
        for (struct pl_subscription *sub = place->subs; sub; sub = sub->node_next) {
            if (sub->node_next)
                pl_sub_prefetch(sub->node_next);
            __builtin_prefetch(sub->session);
            if (!may_have(sub, place->tests, subject, is_logged))
                continue;
            if (sub->queue.len) {
                if (make_room(&b->members, &b->member_cap, b->member_count + 1))
                    return PL_NO_MEMORY;
                b->members[b->member_count++] =
                    (struct pl_found){.sub = sub, .minor = place->pattern, .tests = place->tests};
            } else {
                if (make_room(&b->targets, &b->target_cap, b->target_count + 1))
                    return PL_NO_MEMORY;
                b->targets[b->target_count++] =
                    (struct pl_found){.sub = sub, .minor = sub->form, .worker = sub->worker};
            }
        }
    }
    if (places->count > 1 && b->target_count > 1)
        merge_copies(b);
    /* Apart from the first look, so that the sessions are fetched side by side. */
    for (uint32_t i = 0; i < b->target_count; i++)
        b->targets[i].major = (uintptr_t)b->targets[i].sub->session->ops;
    return PL_OK;
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_targets(const struct pl_found *a, const struct pl_found *b)
{
    if (a->worker != b->worker)
        return a->worker < b->worker ? -1 : 1;
    return a->major != b->major ? compare_u64(a->major, b->major) : compare_u64(a->minor, b->minor);
}

static int compare_bytes(struct pl_bytes a, struct pl_bytes b)
{
    size_t least = a.len < b.len ? a.len : b.len;
    int order = least ? memcmp(a.data, b.data, least) : 0;
    return order ? order : compare_u64(a.len, b.len);
}

/* By queue name, then pattern. The globs of one node stand in one list: their text tells. */
static int compare_members(const struct pl_found *a, const struct pl_found *b)
{
    int order = compare_bytes(a->sub->queue, b->sub->queue);
    if (!order)
        order = compare_u64(a->minor, b->minor);
    if (!order && a->tests & PL_TEST_PATTERN) {
        const struct pl_pattern *p = a->sub->pattern, *q = b->sub->pattern;
        order = compare_u64(p->kind, q->kind);
        if (!order)
            order = compare_bytes(p->text, q->text);
    }
    return order;
}

typedef int compare_fn(const struct pl_found *a, const struct pl_found *b);

static void insertion_sort(struct pl_found *list, uint32_t count, compare_fn *compare)
{
    for (uint32_t i = 1; i < count; i++) {
        struct pl_found it = list[i];
        uint32_t at = i;
        for (; at && compare(&list[at - 1], &it) > 0; at--)
            list[at] = list[at - 1];
        list[at] = it;
    }
}

static void merge(const struct pl_found *a, uint32_t a_count, const struct pl_found *b,
    uint32_t b_count, struct pl_found *out, compare_fn *compare)
{
    while (a_count && b_count) {
        if (compare(a, b) <= 0) {
            *out++ = *a++;
            a_count--;
        } else {
            *out++ = *b++;
            b_count--;
        }
    }
    memcpy(out, a, a_count * sizeof *a);
    memcpy(out + a_count, b, b_count * sizeof *b);
}

static bool is_sorted(const struct pl_found *list, uint32_t count, compare_fn *compare)
{
    for (uint32_t i = 1; i < count; i++)
        if (compare(&list[i - 1], &list[i]) > 0)
            return false;
    return true;
}

static enum pl_err sort(struct pl_set_builder *b, struct pl_found **list, uint32_t *cap,
    uint32_t count, compare_fn *compare)
{
    enum { RUN = 16 };
    if (is_sorted(*list, count, compare))
        return PL_OK;
    if (count > RUN && make_room(&b->scratch, &b->scratch_cap, count))
        return PL_NO_MEMORY;
    for (uint32_t at = 0; at < count; at += RUN)
        insertion_sort(*list + at, count - at < RUN ? count - at : RUN, compare);
    for (uint32_t run = RUN; run < count; run *= 2) {
        struct pl_found *from = *list, *to = b->scratch;
        for (uint32_t at = 0; at < count; at += 2 * run) {
            uint32_t left = count - at, first = left < run ? left : run;
            uint32_t second = left - first < run ? left - first : run;
            merge(from + at, first, from + at + first, second, to + at, compare);
        }
        uint32_t scratch_cap = *cap;
        *list = to;
        *cap = b->scratch_cap;
        b->scratch = from;
        b->scratch_cap = scratch_cap;
    }
    return PL_OK;
}

/* Members of one queue name from `at` on. */
static uint32_t name_len(const struct pl_set_builder *b, uint32_t at, bool *out_by_name)
{
    uint32_t i = at;
    *out_by_name = false;
    for (; i < b->member_count; i++) {
        const struct pl_subscription *sub = b->members[i].sub;
        if (!pl_bytes_equal(sub->queue, b->members[at].sub->queue))
            break;
        *out_by_name |= (sub->flags & PL_SUB_QUEUE_BY_NAME) != 0;
    }
    return i - at;
}

/* Divides the members into slots and returns how many there are. slots may be NULL. */
static uint32_t split_members(const struct pl_set_builder *b, struct pl_match_slot *slots)
{
    uint32_t count = 0;
    for (uint32_t at = 0; at < b->member_count;) {
        bool by_name;
        uint32_t end = at + name_len(b, at, &by_name);
        while (at < end) {
            uint32_t first = at++;
            while (at < end && (by_name || !compare_members(&b->members[first], &b->members[at])))
                at++;
            if (slots)
                slots[count] = (struct pl_match_slot){.first = first, .count = at - first};
            count++;
        }
    }
    return count;
}

struct counts {
    uint32_t parts, groups, slots;
};

static struct counts count_runs(const struct pl_set_builder *b)
{
    struct counts n = {0};
    for (uint32_t i = 0; i < b->target_count; i++) {
        bool new_part = !i || b->targets[i].worker != b->targets[i - 1].worker;
        n.parts += new_part;
        n.groups += new_part || compare_targets(&b->targets[i], &b->targets[i - 1]);
    }
    return n;
}

static struct set_block *new_block(size_t size, struct pl_match *spare)
{
    /* Not if it is much too large: that would keep memory that counts against the cache. */
    if (spare && block_of(spare)->size >= size && block_of(spare)->size / 4 < size)
        return block_of(spare);
    struct set_block *block = pl_alloc(size);
    if (block)
        block->size = size;
    return block;
}

struct pl_match *pl_set_build(struct pl_set_builder *b, const struct pl_places *places,
    struct pl_bytes subject, bool is_logged, struct pl_match *spare)
{
    if (collect(b, places, subject, is_logged) ||
        sort(b, &b->targets, &b->target_cap, b->target_count, compare_targets) ||
        sort(b, &b->members, &b->member_cap, b->member_count, compare_members))
        return NULL;
    struct counts n = count_runs(b);
    n.slots = split_members(b, NULL);
    size_t size = sizeof(struct set_block) + n.groups * sizeof(struct pl_match_group) +
                  ((size_t)b->target_count + b->member_count) * sizeof(struct pl_subscription *) +
                  n.parts * sizeof(struct pl_match_part) + n.slots * sizeof(struct pl_match_slot) +
                  subject.len;
    struct set_block *block = new_block(size, spare);
    if (!block)
        return NULL;

    /* In the order of their alignment. */
    struct pl_match_group *groups = (struct pl_match_group *)(void *)(block + 1);
    struct pl_subscription **targets = (struct pl_subscription **)(void *)(groups + n.groups);
    struct pl_subscription **members = targets + b->target_count;
    struct pl_match_part *parts = (struct pl_match_part *)(void *)(members + b->member_count);
    struct pl_match_slot *slots = (struct pl_match_slot *)(void *)(parts + n.parts);
    uint8_t *text = (uint8_t *)(slots + n.slots);

    bool has_no_local = false, has_durable = false;
    uint32_t group = 0, part = 0;
    for (uint32_t i = 0; i < b->target_count; i++) {
        const struct pl_found *it = &b->targets[i];
        bool new_part = !i || it->worker != it[-1].worker;
        if (new_part || compare_targets(it, it - 1)) {
            if (new_part)
                parts[part++] = (struct pl_match_part){.worker = it->worker, .first = group};
            parts[part - 1].count++;
            groups[group++] = (struct pl_match_group){
                .ops = it->sub->session->ops, .form = it->minor, .first = i};
        }
        groups[group - 1].count++;
        targets[i] = it->sub;
        has_no_local |= it->sub->flags & PL_SUB_NO_LOCAL;
        has_durable |= it->sub->is_durable && it->sub->qos;
    }
    (void)split_members(b, slots);
    for (uint32_t i = 0; i < b->member_count; i++) {
        members[i] = b->members[i].sub;
        has_durable |= members[i]->is_durable && members[i]->qos;
    }
    if (subject.len)
        memcpy(text, subject.data, subject.len);

    block->match = (struct pl_match){
        .has_durable = has_durable,
        .has_no_local = has_no_local,
        .part_count = n.parts,
        .group_count = n.groups,
        .target_count = b->target_count,
        .slot_count = n.slots,
        .member_count = b->member_count,
        .receivers = b->target_count + n.slots,
        .parts = parts,
        .groups = groups,
        .targets = targets,
        .slots = slots,
        .members = members,
        .subject = pl_bytes_of(text, subject.len),
    };
    atomic_init(&block->match.refs, 1);
    return &block->match;
}
