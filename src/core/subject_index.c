/*
 * The order's major key has four fields of 16 bits: the hashes of the first, second and third
 * token, and of all behind them; 0 where there is nothing. A serial number tells equal ones apart.
 *
 * A pattern says per field: exactly this, anything but nothing, or anything. So its matches stand
 * in few stretches of the order, and a reader who meets a key that cannot match jumps to the next
 * one that can: "+.line1.temp" costs a jump or two per first token, not a look at each subject.
 * What a hash lets through is tested with the pattern itself.
 */
#include "core/subject_index.h"

enum { FIELDS = 4 };

struct bounds {
    uint16_t low[FIELDS], high[FIELDS]; /* per field the least and greatest that can match */
};

static uint16_t field_hash(uint64_t seed, struct pl_bytes token)
{
    uint16_t hash = (uint16_t)(pl_hash(seed, token) >> 40);
    return hash ? hash : 1;
}

static uint64_t key_of(uint64_t seed, struct pl_bytes name)
{
    uint64_t key = 0;
    size_t at = 0;
    for (int i = 0; i < FIELDS; i++) {
        key <<= 16;
        if (at > name.len)
            continue;
        const uint8_t *from = name.data + at;
        const uint8_t *dot =
            i < FIELDS - 1 && at < name.len ? memchr(from, '.', name.len - at) : NULL;
        size_t len = dot ? (size_t)(dot - from) : name.len - at;
        key |= field_hash(seed, pl_bytes_of(from, len));
        at += len + 1;
    }
    return key;
}

static bool is_literal_from(const struct pl_pattern *p, uint32_t at)
{
    for (; at < p->token_count; at++)
        if (p->tokens[at].kind != PL_TOKEN_LITERAL)
            return false;
    return p->kind == PL_PATTERN_TOKENS;
}

static struct bounds bounds_of(uint64_t seed, const struct pl_pattern *p)
{
    struct bounds b;
    bool is_open = false; /* from here on there may be anything */
    for (uint32_t i = 0; i < FIELDS; i++) {
        b.low[i] = 0;
        b.high[i] = UINT16_MAX;
        if (is_open)
            continue;
        if (i >= p->token_count) {
            is_open = p->kind != PL_PATTERN_TOKENS;
            b.high[i] = is_open ? UINT16_MAX : 0;
            continue;
        }
        const struct pl_token *token = &p->tokens[i];
        is_open = token->kind == PL_TOKEN_REST || token->kind == PL_TOKEN_SELF_OR_REST;
        b.low[i] = token->kind != PL_TOKEN_SELF_OR_REST;
        /* The last field stands for all tokens from here on. */
        bool is_last = i == FIELDS - 1;
        if (is_last ? is_literal_from(p, i) : token->kind == PL_TOKEN_LITERAL) {
            size_t len = is_last ? p->text.len - token->at : token->len;
            b.low[i] = b.high[i] = field_hash(seed, pl_bytes_of(p->text.data + token->at, len));
        }
    }
    return b;
}

static uint16_t field(uint64_t key, int i)
{
    return (uint16_t)(key >> 16 * (FIELDS - 1 - i));
}

/* The first `count` fields of key, then the least that can match. */
static uint64_t least_behind(const struct bounds *b, uint64_t key, int count)
{
    uint64_t made = 0;
    for (int i = 0; i < FIELDS; i++)
        made = made << 16 | (i < count ? field(key, i) : b->low[i]);
    return made;
}

/* The least key that can match and is not smaller than key. False: none. */
static bool next_possible(const struct bounds *b, uint64_t key, uint64_t *out)
{
    int i = 0;
    while (i < FIELDS && field(key, i) >= b->low[i] && field(key, i) <= b->high[i])
        i++;
    if (i == FIELDS) {
        *out = key;
        return true;
    }
    if (field(key, i) < b->low[i]) {
        *out = least_behind(b, key, i);
        return true;
    }
    while (i-- > 0)
        if (field(key, i) < b->high[i]) {
            uint64_t up = key + ((uint64_t)1 << 16 * (FIELDS - 1 - i));
            *out = least_behind(b, up, i + 1);
            return true;
        }
    return false;
}

void pl_subject_index_init(struct pl_subject_index *index, uint64_t seed)
{
    *index = (struct pl_subject_index){.seed = seed};
    pl_map_init(&index->by_name, seed);
    pl_order_init(&index->order, seed);
}

void pl_subject_index_done(struct pl_subject_index *index)
{
    pl_map_done(&index->by_name);
}

static struct pl_subject_entry *entry_of(struct pl_map_entry *e)
{
    return e ? PL_CONTAINER(e, struct pl_subject_entry, by_name) : NULL;
}

struct pl_subject_entry *pl_subject_index_find(
    const struct pl_subject_index *index, struct pl_bytes subject)
{
    return entry_of(pl_map_find(&index->by_name, subject));
}

enum pl_err pl_subject_index_add(struct pl_subject_index *index, struct pl_subject_entry *entry,
    uint32_t height, struct pl_bytes subject)
{
    enum pl_err err = pl_map_add(&index->by_name, &entry->by_name, subject);
    if (!err)
        pl_order_add(&index->order, &entry->node, height, key_of(index->seed, subject),
            ++index->last_serial);
    return err;
}

void pl_subject_index_remove(struct pl_subject_index *index, struct pl_subject_entry *entry)
{
    pl_order_remove(&index->order, &entry->node);
    pl_map_remove(&index->by_name, &entry->by_name);
}

static const struct pl_subject_position the_end = {UINT64_MAX, UINT64_MAX};

struct pl_subject_entry *pl_subject_index_next(const struct pl_subject_index *index,
    const struct pl_pattern *pattern, struct pl_subject_position *at, size_t *steps)
{
    if (!*steps || pl_subject_position_is_end(*at))
        return NULL;
    if (pattern->is_literal) {
        *at = the_end;
        return pl_subject_index_find(index, pattern->text);
    }
    struct bounds bounds = bounds_of(index->seed, pattern);
    struct pl_order_node *node = pl_order_find(&index->order, at->major, at->minor + 1);
    while (node) {
        uint64_t possible;
        if (!*steps)
            return NULL;
        --*steps;
        if (!next_possible(&bounds, node->major, &possible))
            break;
        if (possible != node->major) {
            *at = (struct pl_subject_position){possible, 0};
            node = pl_order_find(&index->order, possible, 0);
            continue;
        }
        *at = (struct pl_subject_position){node->major, node->minor};
        struct pl_subject_entry *entry = PL_CONTAINER(node, struct pl_subject_entry, node);
        if (pl_pattern_matches(pattern, entry->by_name.key))
            return entry;
        node = pl_order_next(node);
    }
    *at = the_end;
    return NULL;
}
