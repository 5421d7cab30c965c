/*
 * A tree of tokens; a pattern sits where it ends:
 *
 *     plant ─┬─ * ─── temp  {A}          plant.*.temp
 *            ├─ >           {B}          plant.>
 *            └─ #           {C}          plant.#
 *
 * Nodes stand in one array. Literal children are in one table for the whole tree, keyed by (parent,
 * token): a lookup is one cache line, a node 16 bytes. The other children of a node (any token,
 * rest, self or rest, and the globs and prefixes whose literal head ends here) stand together in a
 * second array, for most nodes have none. Node 1 is the root; 0 means none.
 *
 * A token in an edge is the token itself if it has up to 7 bytes, with its length in the high byte;
 * of a longer one it is the address of its entry in long_tokens. So equal numbers are equal tokens.
 * Where a name has a long token that no pattern has, the number is NOWHERE.
 *
 * A name is matched by walking down every branch that fits; no node is met twice, so the cost is
 * bounded by the nodes that match some head of the name.
 */
#include "core/match_index.h"

#include "base/alloc.h"
#include "base/hash.h"

enum {
    ROOT = 1,
    FIRST_CAP = 64,
    SHORT_TOKEN = 7, /* bytes that fit into an edge with their length */
};

static const uint64_t NOWHERE = UINT64_MAX;
static const uint64_t IS_LONG = (uint64_t)0xF0 << 56;

struct long_token {
    struct pl_map_entry entry;
    uint32_t refs; /* edges */
    uint8_t bytes[];
};

/* Little or big endian does not matter: the numbers never leave the process. */
static uint64_t short_token(struct pl_bytes token)
{
    uint64_t number = 0;
    memcpy((uint8_t *)&number, token.data, token.len);
    return number;
}

/*
 * The low 56 bits are the bytes. One load where eight bytes are there to be read; the name's end is
 * copied byte by byte.
 */
static uint64_t token_number(const struct pl_tree *tree, struct pl_bytes token, size_t readable)
{
    if (token.len <= SHORT_TOKEN) {
        uint64_t number;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        if (readable >= 8 && token.len) {
            memcpy(&number, token.data, 8);
            number &= UINT64_MAX >> (64 - 8 * token.len);
            return number | (uint64_t)token.len << 56;
        }
        number = token.len ? short_token(token) : 0;
#else
        (void)readable;
        number = token.len ? short_token(token) >> 8 : 0;
#endif
        return number | (uint64_t)token.len << 56;
    }
    struct pl_map_entry *e = pl_map_find(&tree->long_tokens, token);
    return e ? IS_LONG | (uintptr_t)e : NOWHERE;
}

static struct long_token *long_token_of(uint64_t number)
{
    struct pl_map_entry *e = (struct pl_map_entry *)(uintptr_t)(number & ~IS_LONG);
    return PL_CONTAINER(e, struct long_token, entry);
}

/* As token_number, but makes an entry for a new long token. NOWHERE: no memory. */
static uint64_t new_token_number(struct pl_tree *tree, struct pl_bytes token)
{
    uint64_t number = token_number(tree, token, 0);
    if (number != NOWHERE)
        return number;
    struct long_token *t = pl_alloc(sizeof *t + token.len);
    if (!t)
        return NOWHERE;
    t->refs = 0;
    memcpy(t->bytes, token.data, token.len);
    if (pl_map_add(&tree->long_tokens, &t->entry, pl_bytes_of(t->bytes, token.len))) {
        pl_free(t);
        return NOWHERE;
    }
    return IS_LONG | (uintptr_t)&t->entry;
}

static bool is_long(uint64_t number)
{
    return (number & IS_LONG) == IS_LONG;
}

static void drop_unused_token(struct pl_tree *tree, uint64_t number)
{
    if (!is_long(number) || long_token_of(number)->refs)
        return;
    struct long_token *t = long_token_of(number);
    pl_map_remove(&tree->long_tokens, &t->entry);
    pl_free(t);
}

static uint32_t home_of(const struct pl_tree *tree, uint32_t parent, uint64_t token)
{
    uint64_t h = (token ^ tree->seed) * 0x9E3779B97F4A7C15u;
    h = ((h ^ h >> 32) + parent) * 0xD6E8FEB86659FD93u;
    return (uint32_t)(h >> 32) & (tree->edge_cap - 1);
}

static struct pl_edge *edge_of(const struct pl_tree *tree, uint32_t parent, uint64_t token)
{
    uint32_t mask = tree->edge_cap - 1;
    for (uint32_t at = home_of(tree, parent, token);; at = (at + 1) & mask) {
        struct pl_edge *edge = &tree->edges[at];
        if (!edge->child || (edge->parent == parent && edge->token == token))
            return edge;
    }
}

static uint32_t child_of(const struct pl_tree *tree, uint32_t parent, uint64_t token)
{
    return edge_of(tree, parent, token)->child;
}

static enum pl_err resize_edges(struct pl_tree *tree, uint32_t cap)
{
    struct pl_edge *old = tree->edges, *edges = pl_zalloc(cap * sizeof *edges);
    if (!edges)
        return PL_NO_MEMORY;
    uint32_t old_cap = tree->edge_cap;
    tree->edges = edges;
    tree->edge_cap = cap;
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i].child)
            *edge_of(tree, old[i].parent, old[i].token) = old[i];
    pl_free(old);
    return PL_OK;
}

static void add_edge(struct pl_tree *tree, uint32_t parent, uint64_t token, uint32_t child)
{
    *edge_of(tree, parent, token) =
        (struct pl_edge){.token = token, .parent = parent, .child = child};
    tree->edge_count++;
    tree->nodes[parent].children++;
    if (is_long(token))
        long_token_of(token)->refs++;
}

static void remove_edge(struct pl_tree *tree, uint32_t parent, uint64_t token)
{
    struct pl_edge *edges = tree->edges;
    uint32_t mask = tree->edge_cap - 1, hole = (uint32_t)(edge_of(tree, parent, token) - edges);
    for (uint32_t at = (hole + 1) & mask; edges[at].child; at = (at + 1) & mask) {
        uint32_t home = home_of(tree, edges[at].parent, edges[at].token);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            edges[hole] = edges[at];
            hole = at;
        }
    }
    edges[hole] = (struct pl_edge){0};
    tree->edge_count--;
    tree->nodes[parent].children--;
    if (is_long(token)) {
        long_token_of(token)->refs--;
        drop_unused_token(tree, token);
    }
    /* If there is no memory for a smaller table the larger one serves. */
    if (tree->edge_cap > FIRST_CAP && tree->edge_count < tree->edge_cap / 8)
        (void)!resize_edges(tree, tree->edge_cap / 2);
}

void pl_tree_init(struct pl_tree *tree, uint64_t seed)
{
    *tree = (struct pl_tree){.seed = seed, .node_count = 1, .wild_count = 1};
    pl_map_init(&tree->long_tokens, seed);
}

void pl_tree_done(struct pl_tree *tree)
{
    for (struct pl_map_entry *e = pl_map_next(&tree->long_tokens, NULL); e;) {
        struct pl_map_entry *next = pl_map_next(&tree->long_tokens, e);
        pl_free(PL_CONTAINER(e, struct long_token, entry));
        e = next;
    }
    pl_map_done(&tree->long_tokens);
    pl_free(tree->nodes);
    pl_free(tree->wilds);
    pl_free(tree->edges);
    *tree = (struct pl_tree){0};
}

static enum pl_err grow(void **array, uint32_t *cap, uint32_t need, size_t size)
{
    if (need <= *cap)
        return PL_OK;
    uint32_t more = *cap ? *cap * 2 : FIRST_CAP;
    while (more < need)
        more *= 2;
    void *grown = pl_realloc(*array, more * size);
    if (!grown)
        return PL_NO_MEMORY;
    *array = grown;
    *cap = more;
    return PL_OK;
}

/* Room for a path of n more nodes, so that adding it cannot fail half way. */
static enum pl_err make_room(struct pl_tree *tree, uint32_t n)
{
    void *nodes = tree->nodes, *wilds = tree->wilds;
    enum pl_err err = grow(&nodes, &tree->node_cap, tree->node_count + n + 1, sizeof *tree->nodes);
    tree->nodes = nodes;
    if (!err)
        err = grow(&wilds, &tree->wild_cap, tree->wild_count + n, sizeof *tree->wilds);
    tree->wilds = wilds;
    uint32_t cap = tree->edge_cap ? tree->edge_cap : FIRST_CAP;
    while (tree->edge_count + n > cap / 4 * 3)
        cap *= 2;
    if (!err && cap != tree->edge_cap)
        err = resize_edges(tree, cap);
    if (!err && tree->node_count == ROOT) {
        tree->wilds[0] = (struct pl_wild){0}; /* of a node without wildcard children */
        tree->nodes[ROOT] = (struct pl_node){0};
        tree->node_count = ROOT + 1;
    }
    return err;
}

static uint32_t new_node(struct pl_tree *tree)
{
    uint32_t n = tree->node_free;
    if (n)
        tree->node_free = tree->nodes[n].children;
    else
        n = tree->node_count++;
    tree->nodes[n] = (struct pl_node){0};
    return n;
}

static uint32_t new_wild(struct pl_tree *tree)
{
    uint32_t w = tree->wild_free;
    if (w)
        tree->wild_free = tree->wilds[w].any;
    else
        w = tree->wild_count++;
    tree->wilds[w] = (struct pl_wild){0};
    return w;
}

static void free_node(struct pl_tree *tree, uint32_t n)
{
    tree->nodes[n] = (struct pl_node){.children = tree->node_free};
    tree->node_free = n;
}

/* One step from a node down to the place of a pattern. */
struct step {
    uint32_t parent;
    enum { TO_LITERAL, TO_ANY, TO_REST, TO_SELF_OR_REST, TO_LOOSE } to;
    uint64_t token;
};

enum { STEPS_MAX = PL_SUBJECT_TOKENS_MAX + 1 };

static uint32_t *wild_child(struct pl_wild *wild, struct step step)
{
    return step.to == TO_ANY            ? &wild->any
           : step.to == TO_REST         ? &wild->rest
           : step.to == TO_SELF_OR_REST ? &wild->self_or_rest
                                        : &wild->loose;
}

static uint32_t go_down(const struct pl_tree *tree, struct step step)
{
    if (step.to == TO_LITERAL)
        return child_of(tree, step.parent, step.token);
    return *wild_child(&tree->wilds[tree->nodes[step.parent].wild], step);
}

static uint32_t add_child(struct pl_tree *tree, struct step step)
{
    uint32_t child = new_node(tree);
    struct pl_node *parent = &tree->nodes[step.parent];
    if (step.to == TO_LITERAL) {
        add_edge(tree, step.parent, step.token, child);
        return child;
    }
    if (!parent->wild) {
        parent->wild = new_wild(tree);
        parent->children++;
    }
    *wild_child(&tree->wilds[parent->wild], step) = child;
    return child;
}

static void remove_child(struct pl_tree *tree, struct step step)
{
    free_node(tree, go_down(tree, step));
    struct pl_node *parent = &tree->nodes[step.parent];
    if (step.to == TO_LITERAL) {
        remove_edge(tree, step.parent, step.token);
        return;
    }
    struct pl_wild *wild = &tree->wilds[parent->wild];
    *wild_child(wild, step) = 0;
    if (wild->any || wild->rest || wild->self_or_rest || wild->loose)
        return;
    wild->any = tree->wild_free;
    tree->wild_free = parent->wild;
    parent->wild = 0;
    parent->children--;
}

/* Removes the path's nodes from the deepest up, as long as nothing else needs them. */
static void prune(struct pl_tree *tree, const struct step *steps, uint32_t count)
{
    while (count--) {
        const struct pl_node *node = &tree->nodes[go_down(tree, steps[count])];
        if (node->subs || node->children)
            return;
        remove_child(tree, steps[count]);
    }
}

static struct step step_at(const struct pl_pattern *p, uint32_t i, uint32_t parent)
{
    struct step step = {.parent = parent, .to = TO_LOOSE};
    if (i < p->token_count)
        switch ((enum pl_token_kind)p->tokens[i].kind) {
        case PL_TOKEN_LITERAL:
            step.to = TO_LITERAL;
            break;
        case PL_TOKEN_ANY:
            step.to = TO_ANY;
            break;
        case PL_TOKEN_REST:
            step.to = TO_REST;
            break;
        case PL_TOKEN_SELF_OR_REST:
            step.to = TO_SELF_OR_REST;
            break;
        }
    return step;
}

static uint32_t step_count(const struct pl_pattern *p)
{
    return p->token_count + (p->kind != PL_PATTERN_TOKENS);
}

static struct pl_bytes token_bytes(const struct pl_pattern *p, uint32_t i)
{
    return pl_bytes_of(p->text.data + p->tokens[i].at, p->tokens[i].len);
}

enum pl_err pl_tree_add(struct pl_tree *tree, struct pl_subscription *sub)
{
    const struct pl_pattern *p = sub->pattern;
    struct step steps[STEPS_MAX];
    uint32_t count = step_count(p), node = ROOT;
    if (make_room(tree, count))
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        steps[i] = step_at(p, i, node);
        if (steps[i].to == TO_LITERAL) {
            steps[i].token = new_token_number(tree, token_bytes(p, i));
            if (steps[i].token == NOWHERE) {
                prune(tree, steps, i);
                return PL_NO_MEMORY;
            }
        }
        node = go_down(tree, steps[i]);
        if (!node)
            node = add_child(tree, steps[i]);
    }
    sub->node = node;
    pl_subs_link(&tree->nodes[node].subs, sub);
    tree->sub_count++;
    return PL_OK;
}

void pl_tree_remove(struct pl_tree *tree, struct pl_subscription *sub)
{
    const struct pl_pattern *p = sub->pattern;
    struct step steps[STEPS_MAX];
    pl_subs_unlink(&tree->nodes[sub->node].subs, sub);
    tree->sub_count--;
    if (tree->nodes[sub->node].subs || tree->nodes[sub->node].children)
        return;
    uint32_t count = step_count(p), node = ROOT;
    for (uint32_t i = 0; i < count; i++) {
        steps[i] = step_at(p, i, node);
        if (steps[i].to == TO_LITERAL)
            steps[i].token = token_number(tree, token_bytes(p, i), 0);
        node = go_down(tree, steps[i]);
    }
    PL_ASSERT(node == sub->node);
    prune(tree, steps, count);
}

enum pl_err pl_places_add(
    struct pl_places *places, struct pl_subscription *subs, uint32_t pattern, uint8_t tests)
{
    if (places->count == places->cap) {
        void *items = places->items;
        if (grow(&items, &places->cap, places->count + 1, sizeof *places->items))
            return PL_NO_MEMORY;
        places->items = items;
    }
    pl_sub_prefetch(subs);
    places->items[places->count++] =
        (struct pl_place){.subs = subs, .pattern = pattern, .tests = tests};
    return PL_OK;
}

/* A node on the way down, with as many of the name's tokens behind it. */
struct visit {
    uint32_t node;
    uint16_t depth;
    uint8_t tests;
};

/* What the rules on names leave to patterns (DESIGN sections 1 and 3). */
struct name_rules {
    uint32_t literal_head; /* so many tokens must be literal */
    bool refuses_loose;    /* globs and prefixes see nothing */
    bool has_dollar;
};

static struct name_rules rules_of(struct pl_bytes name)
{
    struct name_rules rules = {.has_dollar = name.len && name.data[0] == '$'};
    if (pl_subject_is_inbox(name))
        rules = (struct name_rules){.literal_head = 2, .refuses_loose = true};
    else if (pl_subject_is_reserved(name))
        rules.literal_head = 1;
    return rules;
}

/*
 * The lists of a node's wildcard children that end here: rest, self or rest, globs. '>' and '#'
 * count as one pattern: one of the two nodes stands for both.
 */
static enum pl_err add_wild_places(const struct pl_tree *tree, const struct pl_wild *wild,
    struct visit at, bool has_rest, const struct name_rules *rules, struct pl_places *places)
{
    uint32_t rest = wild->rest, self = wild->self_or_rest, both = rest ? rest : self;
    enum pl_err err = PL_OK;
    if (wild->loose && !rules->refuses_loose)
        err = pl_places_add(places, tree->nodes[wild->loose].subs, wild->loose, PL_TEST_PATTERN);
    if (!err && rest && has_rest)
        err = pl_places_add(places, tree->nodes[rest].subs, both, at.tests);
    if (!err && self)
        err = pl_places_add(places, tree->nodes[self].subs, both, at.tests);
    return err;
}

static uint32_t read_tokens(const struct pl_tree *tree, struct pl_bytes name, uint64_t *out)
{
    uint32_t count = 0;
    const uint8_t *at = name.data, *end = name.data + name.len;
    for (;;) {
        const uint8_t *from = at;
        while (at < end && *at != '.')
            at++;
        if (count == PL_SUBJECT_TOKENS_MAX)
            return count + 1;
        out[count++] =
            token_number(tree, pl_bytes_of(from, (size_t)(at - from)), (size_t)(end - from));
        if (at == end)
            return count;
        at++;
    }
}

enum pl_err pl_tree_find(const struct pl_tree *tree, struct pl_bytes name, struct pl_places *places)
{
    if (!tree->sub_count)
        return PL_OK;
    uint64_t tokens[PL_SUBJECT_TOKENS_MAX];
    uint32_t token_count = read_tokens(tree, name, tokens);
    if (token_count > PL_SUBJECT_TOKENS_MAX)
        return PL_OK; /* no name; the session refuses it before */
    struct name_rules rules = rules_of(name);
    /* A visit takes one off and puts two on at most, each a level deeper. */
    struct visit stack[PL_SUBJECT_TOKENS_MAX + 2];
    uint32_t top = 0;
    stack[top++] = (struct visit){.node = ROOT};
    while (top) {
        struct visit at = stack[--top];
        const struct pl_node *node = &tree->nodes[at.node];
        bool is_end = at.depth == token_count;
        enum pl_err err = PL_OK;
        if (is_end && node->subs)
            err = pl_places_add(places, node->subs, at.node, at.tests);
        if (node->wild && at.depth >= rules.literal_head) {
            const struct pl_wild *wild = &tree->wilds[node->wild];
            struct visit via = at;
            if (!at.depth && rules.has_dollar)
                via.tests = PL_TEST_DOLLAR;
            if (!err)
                err = add_wild_places(tree, wild, via, !is_end, &rules, places);
            if (wild->any && !is_end)
                stack[top++] = (struct visit){
                    .node = wild->any, .depth = (uint16_t)(at.depth + 1), .tests = via.tests};
        }
        if (err)
            return err;
        if (is_end || node->children == (node->wild != 0) || tokens[at.depth] == NOWHERE)
            continue;
        uint32_t child = child_of(tree, at.node, tokens[at.depth]);
        if (child)
            stack[top++] =
                (struct visit){.node = child, .depth = (uint16_t)(at.depth + 1), .tests = at.tests};
    }
    return PL_OK;
}
