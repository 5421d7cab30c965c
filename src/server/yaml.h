/*
 * YAML (JSON is YAML) as a tree of nodes that know where they stand, so that an error can say file,
 * line and key. A strict subset: no anchors, no tags, one document, no key twice.
 *
 *     struct pl_node *root;
 *     if (pl_yaml_parse(&arena, "parley.yaml", text, &root, &diag) != PL_OK)
 *         puts(diag.text);   // parley.yaml:3: ...
 */
#ifndef PL_SERVER_YAML_H
#define PL_SERVER_YAML_H

#include "base/arena.h"
#include "base/bytes.h"

enum {
    PL_YAML_BYTES_MAX = 1 << 20,
    PL_YAML_DEPTH_MAX = 16,
    PL_YAML_KEYS_MAX = 4096, /* entries of one map or list */
};

enum pl_node_kind { PL_NODE_SCALAR, PL_NODE_LIST, PL_NODE_MAP };

struct pl_node {
    uint8_t kind;          /* enum pl_node_kind */
    bool is_quoted;        /* a scalar in quotes, or a block */
    uint32_t line;         /* in file, from 1; 0: not from a file */
    const char *file;      /* or what else it came from: "--set", the name of a variable */
    const char *key;       /* of a map's entry, else NULL */
    const char *text;      /* of a scalar; terminated, holds no other zero */
    struct pl_node *first; /* entries of a map, items of a list */
    struct pl_node *next;
};

/* Everything lives in the arena; file is borrowed as long as the nodes are. An empty text is an
 * empty map. */
PL_MUST_USE enum pl_err pl_yaml_parse(struct pl_arena *arena, const char *file,
    struct pl_bytes text, struct pl_node **out, struct pl_diag *diag);

/* An entry of a map, borrowed; NULL: not there. */
struct pl_node *pl_node_find(const struct pl_node *map, const char *key);
/* Adds at the end. */
void pl_node_append(struct pl_node *parent, struct pl_node *child);
/* True for `key:` with nothing behind it. */
bool pl_node_is_empty(const struct pl_node *node);

#endif
