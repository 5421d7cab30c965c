/*
 * The log is one list in the order of offsets. Each entry stands also in the list of its rule and
 * of its subject. Whatever limit is met (messages of a subject, age and bytes of a rule, bytes of
 * the log), it is always the oldest of its subject that goes.
 *
 * A subject remembers the offset of its last message that was dropped, so is_whole can tell exactly
 * what a reader missed. Subjects without messages stay for a while, in the order in which they
 * became so; the oldest of too many is forgotten, and its rule remembers for all such subjects.
 *
 * Claimed subjects stand under a rule of their own, which matches nothing by itself. Those that
 * nobody claims now are in the order of their last use; the first is the next to be forgotten.
 */
#include "core/history.h"

#include "base/alloc.h"
#include "base/text.h"
#include "core/subject_index.h"

enum {
    EMPTY_SUBJECTS_MIN = 1024, /* so many are kept, or as many as there are others */
    FORGET_MAX = 4096,         /* claimed subjects, and messages of one of them, at a time */
    READ_BYTES = 1024 * 1024,  /* about so many are given at a time */
};

struct log_subject {
    struct pl_subject_entry entry;
    struct log_entry **ring; /* its messages, oldest first; cap is a power of two, or 0 */
    uint32_t ring_first, ring_count, ring_cap;
    uint32_t rule;
    bool is_claimed;       /* stands under the rule of claimed subjects, not under `rule` */
    uint32_t claims;       /* open ones */
    uint64_t used_unix_ms; /* of a claimed one */
    uint64_t dropped_to;   /* the newest that was dropped; 0: none. Notes do not count */
    struct log_subject *next, **at; /* in the list of empty ones, or of unclaimed ones */
};

struct log_list {
    struct log_subject *first, **last;
    size_t count;
};

struct log_entry {
    struct pl_order_node node; /* its major key is the offset */
    struct log_entry *rule_next, *rule_previous;
    struct log_subject *subject;
    struct pl_message *message; /* one reference */
    uint64_t logged_unix_ms;
    size_t size; /* what it counts against limits of bytes */
};

struct log_rule {
    struct pl_history_rule is;
    struct log_entry *oldest, *newest;
    uint64_t bytes;
    uint64_t dropped_to;   /* the newest that was dropped of any of its subjects */
    uint64_t forgotten_to; /* … of those that were forgotten */
    uint64_t told_to;      /* dropped_to, as it is in the store */
};

struct pl_history {
    struct pl_order entries;
    struct pl_subject_index subjects;
    struct log_rule *rules;
    uint32_t rule_count;
    uint64_t epoch, last_offset;
    uint64_t
        next_offset; /* the last that was given out; those behind last_offset are on their way */
    struct pl_cursor *epochs; /* of earlier starts, and where they ended; owned */
    uint32_t epoch_count;
    size_t count, bytes, bytes_max;
    struct log_list empty;  /* under the operator's rules, without messages */
    struct log_list unused; /* claimed once, by nobody now */
    struct log_rule claimed;
    struct pl_history_claims claims; /* subjects 0: there are none */
    size_t claimed_count;
    uint64_t forgotten_count;
};

struct pl_history *pl_history_new(uint64_t seed, uint64_t epoch, size_t bytes_max)
{
    struct pl_history *h = pl_zalloc(sizeof *h);
    if (!h)
        return NULL;
    pl_order_init(&h->entries, seed);
    pl_subject_index_init(&h->subjects, seed);
    h->epoch = epoch;
    h->bytes_max = bytes_max;
    h->empty.last = &h->empty.first;
    h->unused.last = &h->unused.first;
    return h;
}

static struct log_subject *subject_of(struct pl_subject_entry *entry)
{
    return entry ? PL_CONTAINER(entry, struct log_subject, entry) : NULL;
}

static struct log_entry *entry_of(struct pl_order_node *node)
{
    return node ? PL_CONTAINER(node, struct log_entry, node) : NULL;
}

static void free_entry(struct log_entry *e)
{
    pl_message_unref(e->message);
    pl_free(e);
}

static void free_subject(struct log_subject *s)
{
    pl_free(s->ring);
    pl_free(s);
}

struct pl_history *pl_history_free(struct pl_history *h)
{
    if (!h)
        return NULL;
    for (struct pl_order_node *node = pl_order_first(&h->entries); node;) {
        struct pl_order_node *next = pl_order_next(node);
        free_entry(entry_of(node));
        node = next;
    }
    for (struct pl_order_node *node = pl_order_first(&h->subjects.order); node;) {
        struct pl_order_node *next = pl_order_next(node);
        free_subject(subject_of(PL_CONTAINER(node, struct pl_subject_entry, node)));
        node = next;
    }
    pl_subject_index_done(&h->subjects);
    for (uint32_t i = 0; i < h->rule_count; i++)
        pl_pattern_unref(h->rules[i].is.pattern);
    pl_free(h->rules);
    pl_free(h->epochs);
    pl_free(h);
    return NULL;
}

enum pl_err pl_history_add_rule(struct pl_history *h, struct pl_history_rule rule)
{
    struct log_rule *rules = pl_realloc(h->rules, (h->rule_count + 1) * sizeof *rules);
    if (!rules) {
        pl_pattern_unref(rule.pattern);
        return PL_NO_MEMORY;
    }
    h->rules = rules;
    h->rules[h->rule_count++] = (struct log_rule){.is = rule};
    return PL_OK;
}

bool pl_history_has_rules(const struct pl_history *h)
{
    return h->rule_count > 0 || h->claims.subjects;
}

void pl_history_set_claims(struct pl_history *h, const struct pl_history_claims *claims)
{
    h->claims = *claims;
    h->claimed.is = (struct pl_history_rule){.limit = claims->limit, .bytes = claims->bytes};
}

static struct log_rule *rule_of(struct pl_history *h, const struct log_subject *s)
{
    return s->is_claimed ? &h->claimed : &h->rules[s->rule];
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static struct log_entry *ring_at(const struct log_subject *s, uint32_t i)
{
    return s->ring[(s->ring_first + i) & (s->ring_cap - 1)];
}

static enum pl_err make_ring_room(struct log_subject *s)
{
    if (s->ring_count < s->ring_cap)
        return PL_OK;
    uint32_t cap = s->ring_cap ? s->ring_cap * 2 : 2;
    struct log_entry **ring = pl_alloc(cap * sizeof(struct log_entry *));
    if (!ring)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < s->ring_count; i++)
        ring[i] = ring_at(s, i);
    pl_free(s->ring);
    s->ring = ring;
    s->ring_cap = cap;
    s->ring_first = 0;
    return PL_OK;
}

static void list_remove(struct log_list *list, struct log_subject *s)
{
    *s->at = s->next;
    if (s->next)
        s->next->at = s->at;
    else
        list->last = s->at;
    s->next = NULL;
    s->at = NULL;
    list->count--;
}

static void list_add(struct log_list *list, struct log_subject *s)
{
    s->next = NULL;
    s->at = list->last;
    *list->last = s;
    list->last = &s->next;
    list->count++;
}

/* One without messages. */
static void forget_subject(struct pl_history *h, struct log_list *list, struct log_subject *s)
{
    struct log_rule *rule = rule_of(h, s);
    rule->forgotten_to = later(rule->forgotten_to, s->dropped_to);
    list_remove(list, s);
    pl_subject_index_remove(&h->subjects, &s->entry);
    free_subject(s);
}

/* Its last message has gone. */
static void empty_subject(struct pl_history *h, struct log_subject *s)
{
    pl_free(s->ring);
    s->ring = NULL;
    s->ring_cap = s->ring_first = 0;
    if (s->is_claimed)
        return;
    list_add(&h->empty, s);
    size_t others = h->subjects.by_name.count - h->empty.count;
    while (h->empty.count > EMPTY_SUBJECTS_MIN && h->empty.count > others)
        forget_subject(h, &h->empty, h->empty.first);
}

/* Drops the oldest message of the entry's subject, which it is. */
static void drop(struct pl_history *h, struct log_entry *e)
{
    struct log_subject *s = e->subject;
    struct log_rule *rule = rule_of(h, s);
    PL_ASSERT(ring_at(s, 0) == e);
    s->ring_first = (s->ring_first + 1) & (s->ring_cap - 1);
    s->ring_count--;
    if (!e->message->is_note) {
        s->dropped_to = e->node.major;
        rule->dropped_to = later(rule->dropped_to, e->node.major);
    }

    *(e->rule_previous ? &e->rule_previous->rule_next : &rule->oldest) = e->rule_next;
    *(e->rule_next ? &e->rule_next->rule_previous : &rule->newest) = e->rule_previous;
    pl_order_remove(&h->entries, &e->node);
    rule->bytes -= e->size;
    h->bytes -= e->size;
    h->count--;
    free_entry(e);
    if (!s->ring_count)
        empty_subject(h, s);
}

static void drop_aged(struct pl_history *h, const struct log_rule *rule, uint64_t now_unix_ms)
{
    while (rule->is.age_ms && rule->oldest && now_unix_ms >= rule->oldest->logged_unix_ms &&
           now_unix_ms - rule->oldest->logged_unix_ms >= rule->is.age_ms)
        drop(h, rule->oldest);
}

/* A claimed one that nobody claims now. False: max of its messages were dropped, more are left. */
static bool forget_unused(struct pl_history *h, struct log_subject *s, size_t max)
{
    while (s->ring_count && max--)
        drop(h, ring_at(s, 0));
    if (s->ring_count)
        return false;
    forget_subject(h, &h->unused, s);
    h->claimed_count--;
    h->forgotten_count++;
    return true;
}

void pl_history_expire(struct pl_history *h, uint64_t now_unix_ms)
{
    for (uint32_t i = 0; i < h->rule_count; i++)
        drop_aged(h, &h->rules[i], now_unix_ms);
    for (int i = 0; i < FORGET_MAX && h->unused.first; i++) {
        struct log_subject *s = h->unused.first;
        if (h->claims.age_ms == PL_NEVER || now_unix_ms < s->used_unix_ms ||
            now_unix_ms - s->used_unix_ms < h->claims.age_ms || !forget_unused(h, s, FORGET_MAX))
            return;
    }
}

/* After a message of s was added. s may be forgotten by it. */
static void drop_excess(struct pl_history *h, struct log_subject *s, uint64_t now_unix_ms)
{
    const struct log_rule *rule = rule_of(h, s);
    while (rule->is.limit && s->ring_count > rule->is.limit)
        drop(h, ring_at(s, 0));
    drop_aged(h, rule, now_unix_ms);
    while (rule->is.bytes && rule->bytes > rule->is.bytes)
        drop(h, rule->oldest);
    while (h->bytes > h->bytes_max)
        drop(h, entry_of(pl_order_first(&h->entries)));
}

/* The first rule that matches; rule_count: none. */
static uint32_t find_rule(const struct pl_history *h, struct pl_bytes name)
{
    uint32_t rule = 0;
    while (rule < h->rule_count && !pl_pattern_matches(h->rules[rule].is.pattern, name))
        rule++;
    return rule;
}

enum pl_history_kind pl_history_kind(const struct pl_history *h, struct pl_bytes subject)
{
    const struct log_subject *s = subject_of(pl_subject_index_find(&h->subjects, subject));
    if (s && s->is_claimed)
        return PL_HISTORY_MEMORY;
    uint32_t rule = s ? s->rule : find_rule(h, subject);
    if (rule == h->rule_count)
        return PL_HISTORY_NONE;
    return h->rules[rule].is.is_durable ? PL_HISTORY_DURABLE : PL_HISTORY_MEMORY;
}

static struct log_subject *new_subject(struct pl_history *h, struct pl_bytes name)
{
    uint32_t height = pl_order_height(&h->subjects.order);
    size_t links = height * sizeof(struct pl_order_node *);
    struct log_subject *s = pl_zalloc(sizeof *s + links + name.len);
    if (!s)
        return NULL;
    s->entry.node.links = (struct pl_order_node **)(void *)(s + 1);
    uint8_t *text = (uint8_t *)(s + 1) + links;
    if (name.len)
        memcpy(text, name.data, name.len);
    if (pl_subject_index_add(&h->subjects, &s->entry, height, pl_bytes_of(text, name.len))) {
        pl_free(s);
        return NULL;
    }
    return s;
}

enum pl_err pl_history_claim(
    struct pl_history *h, struct pl_bytes name, uint64_t now_unix_ms, bool *out_claimed)
{
    struct log_subject *s = subject_of(pl_subject_index_find(&h->subjects, name));
    *out_claimed = false;
    if (!h->claims.subjects || (s && !s->is_claimed) || (!s && find_rule(h, name) < h->rule_count))
        return PL_OK;
    if (!s && h->claimed_count >= h->claims.subjects &&
        (!h->unused.first || !forget_unused(h, h->unused.first, SIZE_MAX)))
        return PL_LIMIT;
    if (!s) {
        if (!(s = new_subject(h, name)))
            return PL_NO_MEMORY;
        s->is_claimed = true;
        h->claimed_count++;
    }
    if (s->at)
        list_remove(&h->unused, s);
    s->claims++;
    s->used_unix_ms = now_unix_ms;
    *out_claimed = true;
    return PL_OK;
}

void pl_history_release(struct pl_history *h, struct pl_bytes name, uint64_t now_unix_ms)
{
    struct log_subject *s = subject_of(pl_subject_index_find(&h->subjects, name));
    PL_ASSERT(s && s->is_claimed && s->claims);
    if (--s->claims)
        return;
    s->used_unix_ms = now_unix_ms;
    list_add(&h->unused, s);
}

uint64_t pl_history_forgotten(const struct pl_history *h)
{
    return h->forgotten_count;
}

static struct log_entry *new_entry(
    struct pl_history *h, struct log_subject *s, struct pl_message *message)
{
    uint32_t height = pl_order_height(&h->entries);
    struct log_entry *e = NULL;
    if (!make_ring_room(s))
        e = pl_zalloc(sizeof *e + height * sizeof(struct pl_order_node *));
    if (!e)
        return NULL;
    e->subject = s;
    e->node.links = (struct pl_order_node **)(void *)(e + 1);
    e->message = pl_message_keep(message);
    if (!e->message) {
        pl_free(e);
        return NULL;
    }
    e->size = sizeof *e + pl_message_size(e->message);
    pl_order_add(&h->entries, &e->node, height, message->offset, 0);
    return e;
}

uint64_t pl_history_reserve(struct pl_history *h)
{
    return ++h->next_offset;
}

enum pl_err pl_history_append(
    struct pl_history *h, struct pl_message *message, uint64_t now_unix_ms)
{
    if (!h->rule_count && !h->claimed_count)
        return PL_OK; /* most servers have no Mles member: publishing costs them nothing */
    struct log_subject *s = subject_of(pl_subject_index_find(&h->subjects, message->subject));
    bool is_new = !s;
    if (is_new) {
        uint32_t rule = find_rule(h, message->subject);
        if (rule == h->rule_count)
            return PL_OK;
        if (!(s = new_subject(h, message->subject)))
            return PL_NO_MEMORY;
        s->rule = rule;
    }
    bool is_reserved = message->offset != 0;
    if (!is_reserved) /* before it is kept: the copy has it too */
        message->offset = pl_history_reserve(h);
    struct log_entry *e = new_entry(h, s, message);
    if (!e) {
        message->offset = 0;
        h->next_offset -= !is_reserved;
        if (is_new) {
            pl_subject_index_remove(&h->subjects, &s->entry);
            free_subject(s);
        }
        return PL_NO_MEMORY;
    }
    h->last_offset = message->offset;
    h->next_offset = later(h->next_offset, h->last_offset);
    if (s->at)
        list_remove(s->is_claimed ? &h->unused : &h->empty, s);
    s->used_unix_ms = now_unix_ms;
    if (s->is_claimed && !s->claims)
        list_add(&h->unused, s);
    s->ring[(s->ring_first + s->ring_count++) & (s->ring_cap - 1)] = e;
    struct log_rule *rule = rule_of(h, s);
    e->logged_unix_ms = now_unix_ms;
    e->rule_previous = rule->newest;
    *(rule->newest ? &rule->newest->rule_next : &rule->oldest) = e;
    rule->newest = e;
    rule->bytes += e->size;
    h->bytes += e->size;
    h->count++;
    drop_excess(h, s, now_unix_ms);
    return PL_OK;
}

struct pl_cursor pl_history_head(const struct pl_history *h)
{
    return (struct pl_cursor){.epoch = h->epoch, .offset = h->last_offset};
}

enum pl_err pl_history_add_epoch(struct pl_history *h, struct pl_cursor end)
{
    struct pl_cursor *epochs = pl_realloc(h->epochs, (h->epoch_count + 1) * sizeof *epochs);
    if (!epochs)
        return PL_NO_MEMORY;
    h->epochs = epochs;
    h->epochs[h->epoch_count++] = end;
    pl_history_pass(h, end.offset);
    return PL_OK;
}

void pl_history_pass(struct pl_history *h, uint64_t offset)
{
    h->next_offset = later(h->next_offset, offset);
    h->last_offset = later(h->last_offset, offset);
}

/* The offset that the cursor stands for now; false: its epoch is unknown. */
static bool resolve(const struct pl_history *h, struct pl_cursor since, uint64_t *out_offset)
{
    *out_offset = since.offset < h->last_offset ? since.offset : h->last_offset;
    if (since.epoch == h->epoch)
        return true;
    for (uint32_t i = 0; i < h->epoch_count; i++) {
        if (h->epochs[i].epoch != since.epoch)
            continue;
        *out_offset = since.offset < h->epochs[i].offset ? since.offset : h->epochs[i].offset;
        return true;
    }
    *out_offset = 0;
    return false;
}

uint64_t pl_history_resume_at(const struct pl_history *h, struct pl_cursor since)
{
    uint64_t offset;
    (void)resolve(h, since, &offset);
    return offset;
}

bool pl_history_tell_dropped(
    struct pl_history *h, uint32_t rule, struct pl_bytes *out_pattern, uint64_t *out_offset)
{
    struct log_rule *it = &h->rules[rule];
    if (!it->is.is_durable || it->dropped_to == it->told_to)
        return false;
    it->told_to = it->dropped_to;
    *out_pattern = it->is.pattern->text;
    *out_offset = it->dropped_to;
    return true;
}

void pl_history_set_dropped(struct pl_history *h, struct pl_bytes pattern, uint64_t offset)
{
    for (uint32_t i = 0; i < h->rule_count; i++) {
        struct log_rule *rule = &h->rules[i];
        if (!pl_bytes_equal(rule->is.pattern->text, pattern))
            continue;
        /* Of which subjects is not known any more: it counts for all. */
        rule->dropped_to = later(rule->dropped_to, offset);
        rule->forgotten_to = later(rule->forgotten_to, offset);
    }
}

uint64_t pl_history_dropped_to(const struct pl_history *h)
{
    uint64_t offset = 0;
    for (uint32_t i = 0; i < h->rule_count; i++)
        offset = later(offset, h->rules[i].dropped_to);
    return offset;
}

uint32_t pl_history_rule_count(const struct pl_history *h)
{
    return h->rule_count;
}

bool pl_history_is_whole(
    const struct pl_history *h, const struct pl_pattern *pattern, struct pl_cursor since)
{
    if (!resolve(h, since, &since.offset))
        return false;
    bool is_any = false;   /* something that the pattern might match was dropped */
    bool is_ruled = false; /* what it matches stands under one rule: nobody can claim it */
    for (uint32_t i = 0; i < h->rule_count; i++) {
        const struct log_rule *rule = &h->rules[i];
        bool is_gone = since.epoch != h->epoch && !rule->is.is_durable;
        is_ruled |= pl_pattern_contains(rule->is.pattern, pattern);
        if ((rule->dropped_to <= since.offset && !is_gone) ||
            !pl_pattern_intersects(rule->is.pattern, pattern))
            continue;
        if (is_gone || rule->forgotten_to > since.offset)
            return false;
        is_any = true;
    }
    if (!is_ruled && h->claimed.dropped_to > since.offset) {
        if (h->claimed.forgotten_to > since.offset)
            return false;
        is_any = true;
    }
    struct pl_subject_position at = {0};
    size_t steps = SIZE_MAX; /* bounded by the log's subjects; asked once per subscription */
    while (is_any) {
        const struct log_subject *s =
            subject_of(pl_subject_index_next(&h->subjects, pattern, &at, &steps));
        if (!s)
            break;
        if (s->dropped_to > since.offset)
            return false;
    }
    return true;
}

/* The index of the first of its messages behind offset. */
static uint32_t ring_find(const struct log_subject *s, uint64_t offset)
{
    uint32_t low = 0, high = s->ring_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ring_at(s, middle)->node.major <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t pl_history_read(struct pl_history *h, const struct pl_pattern *pattern, bool with_notes,
    uint64_t now_ms, uint64_t *offset, struct pl_message **out, size_t max, size_t steps_max,
    bool *out_end)
{
    size_t count = 0;
    *out_end = true;
    if (*offset >= h->last_offset) {
        *offset = h->last_offset;
        return 0;
    }
    size_t bytes = 0;
    struct log_entry *e = NULL; /* the next to look at */
    const struct log_subject *only = NULL;
    uint32_t i = 0;
    if (pattern->is_literal) {
        only = subject_of(pl_subject_index_find(&h->subjects, pattern->text));
        i = only ? ring_find(only, *offset) : 0;
        e = only && i < only->ring_count ? ring_at(only, i) : NULL;
    } else {
        e = entry_of(pl_order_find(&h->entries, *offset + 1, 0));
    }
    while (e && count < max && bytes < READ_BYTES && steps_max--) {
        *offset = e->node.major;
        bytes += e->size;
        if (!pl_message_is_expired(e->message, now_ms) && (with_notes || !e->message->is_note) &&
            (only || pl_pattern_matches(pattern, e->message->subject)))
            out[count++] = e->message;
        if (only)
            e = ++i < only->ring_count ? ring_at(only, i) : NULL;
        else
            e = entry_of(pl_order_next(&e->node));
    }
    *out_end = !e;
    if (!e)
        *offset = h->last_offset;
    return count;
}

size_t pl_history_count(const struct pl_history *h)
{
    return h->count;
}

size_t pl_history_bytes(const struct pl_history *h)
{
    return h->bytes;
}

enum { CURSOR_BYTES = 16, CURSOR_CHARS = 22 };

size_t pl_cursor_format(struct pl_cursor cursor, char *out)
{
    uint8_t bytes[CURSOR_BYTES];
    pl_put_u64(bytes, cursor.epoch);
    pl_put_u64(bytes + 8, cursor.offset);
    size_t len = pl_base64_encode(pl_bytes_of(bytes, sizeof bytes), true, out);
    out[len] = 0;
    return len;
}

enum pl_err pl_cursor_parse(struct pl_bytes text, struct pl_cursor *out)
{
    uint8_t bytes[3 * (CURSOR_CHARS / 4) + 3];
    size_t len;
    if (text.len != CURSOR_CHARS || pl_base64_decode(text, true, bytes, &len) ||
        len != CURSOR_BYTES)
        return PL_MALFORMED;
    *out = (struct pl_cursor){.epoch = pl_get_u64(bytes), .offset = pl_get_u64(bytes + 8)};
    return PL_OK;
}
