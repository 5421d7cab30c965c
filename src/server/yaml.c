#include "server/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    struct pl_arena *arena;
    const char *file;
    struct pl_diag *diag;
};

PL_PRINTF(3, 4)
static enum pl_err refuse(struct reader *r, size_t line, const char *format, ...)
{
    char text[180];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pl_diag_set(r->diag, 0, "%s:%zu: %s", r->file, line, text);
    return PL_CONFIG;
}

static enum pl_err next_event(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return PL_OK;
    if (r->parser.error == YAML_MEMORY_ERROR)
        return PL_NO_MEMORY;
    /* A reader's error (bad UTF-8) knows an offset, the others a place. */
    size_t line =
        r->parser.error == YAML_READER_ERROR ? r->parser.mark.line : r->parser.problem_mark.line;
    return refuse(r, line + 1, "not YAML: %s", r->parser.problem ? r->parser.problem : "?");
}

static struct pl_node *new_node(struct reader *r, uint8_t kind, size_t line)
{
    struct pl_node *node = pl_arena_zalloc(r->arena, sizeof *node);
    if (!node)
        return NULL;
    node->kind = kind;
    node->line = (uint32_t)line;
    node->file = r->file;
    return node;
}

static enum pl_err read_scalar(struct reader *r, const yaml_event_t *event, struct pl_node **out)
{
    size_t line = event->start_mark.line + 1;
    const struct pl_bytes text = pl_bytes_of(event->data.scalar.value, event->data.scalar.length);
    if (memchr(text.data, 0, text.len))
        return refuse(r, line, "a zero byte in a value");
    struct pl_node *node = new_node(r, PL_NODE_SCALAR, line);
    if (!node || !(node->text = pl_arena_copy(r->arena, text)))
        return PL_NO_MEMORY;
    node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    *out = node;
    return PL_OK;
}

static enum pl_err read_key(
    struct reader *r, const struct pl_node *map, const yaml_event_t *event, const char **out)
{
    size_t line = event->start_mark.line + 1;
    if (event->type != YAML_SCALAR_EVENT)
        return refuse(r, line, "a key must be a word");
    struct pl_node *key;
    enum pl_err err = read_scalar(r, event, &key);
    if (err)
        return err;
    const struct pl_node *same = pl_node_find(map, key->text);
    if (same)
        return refuse(r, line, "%.80s: given twice, first in line %u", key->text, same->line);
    *out = key->text;
    return PL_OK;
}

static enum pl_err read_value(
    struct reader *r, const yaml_event_t *event, unsigned depth, struct pl_node **out);

/* The rest of a list or map, whose start event was read. */
static enum pl_err read_children(struct reader *r, struct pl_node *parent, unsigned depth)
{
    struct pl_node **at = &parent->first;
    for (unsigned count = 0;; count++) {
        yaml_event_t event;
        enum pl_err err = next_event(r, &event);
        if (err)
            return err;
        const char *key = NULL;
        bool is_end = event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
        if (!is_end && count == PL_YAML_KEYS_MAX)
            err = refuse(r, event.start_mark.line + 1, "more than %d entries", PL_YAML_KEYS_MAX);
        if (!err && !is_end && parent->kind == PL_NODE_MAP) {
            err = read_key(r, parent, &event, &key);
            yaml_event_delete(&event);
            if (!err)
                err = next_event(r, &event);
            if (err)
                return err;
        }
        struct pl_node *child = NULL;
        if (!err && !is_end)
            err = read_value(r, &event, depth, &child);
        yaml_event_delete(&event);
        if (err || is_end)
            return err;
        PL_ASSERT(child);
        child->key = key;
        *at = child;
        at = &child->next;
    }
}

static enum pl_err read_value(
    struct reader *r, const yaml_event_t *event, unsigned depth, struct pl_node **out)
{
    size_t line = event->start_mark.line + 1;
    if (event->type == YAML_SCALAR_EVENT) {
        if (event->data.scalar.anchor || event->data.scalar.tag)
            return refuse(r, line, "anchors and tags are not supported");
        return read_scalar(r, event, out);
    }
    bool is_map = event->type == YAML_MAPPING_START_EVENT;
    if (!is_map && event->type != YAML_SEQUENCE_START_EVENT)
        return refuse(r, line, "aliases are not supported");
    if (is_map ? event->data.mapping_start.anchor || event->data.mapping_start.tag
               : event->data.sequence_start.anchor || event->data.sequence_start.tag)
        return refuse(r, line, "anchors and tags are not supported");
    if (depth == 0)
        return refuse(r, line, "nested deeper than %d levels", PL_YAML_DEPTH_MAX);
    struct pl_node *node = new_node(r, is_map ? PL_NODE_MAP : PL_NODE_LIST, line);
    if (!node)
        return PL_NO_MEMORY;
    enum pl_err err = read_children(r, node, depth - 1);
    if (err == PL_OK)
        *out = node;
    return err;
}

/* Stream and document events around one value. */
static enum pl_err read_document(struct reader *r, struct pl_node **out)
{
    struct pl_node *root = NULL;
    for (;;) {
        yaml_event_t event;
        enum pl_err err = next_event(r, &event);
        if (err)
            return err;
        yaml_event_type_t type = event.type;
        size_t line = event.start_mark.line + 1;
        if (type == YAML_DOCUMENT_START_EVENT && root)
            err = refuse(r, line, "a second document");
        else if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT &&
                 type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT)
            err = read_value(r, &event, PL_YAML_DEPTH_MAX, &root);
        yaml_event_delete(&event);
        if (err)
            return err;
        if (type == YAML_STREAM_END_EVENT)
            break;
    }
    if (!root && !(root = new_node(r, PL_NODE_MAP, 1)))
        return PL_NO_MEMORY;
    *out = root;
    return PL_OK;
}

enum pl_err pl_yaml_parse(struct pl_arena *arena, const char *file, struct pl_bytes text,
    struct pl_node **out, struct pl_diag *diag)
{
    struct reader r = {.arena = arena, .file = file, .diag = diag};
    if (text.len > PL_YAML_BYTES_MAX)
        return refuse(&r, 1, "larger than %d bytes", PL_YAML_BYTES_MAX);
    enum pl_err err = PL_NO_MEMORY;
    if (yaml_parser_initialize(&r.parser)) {
        yaml_parser_set_input_string(
            &r.parser, text.data ? text.data : (const uint8_t *)"", text.len);
        err = read_document(&r, out);
        yaml_parser_delete(&r.parser);
    }
    if (err == PL_NO_MEMORY)
        pl_diag_set(diag, 0, "%s: %s", file, pl_err_text(err));
    return err;
}

struct pl_node *pl_node_find(const struct pl_node *map, const char *key)
{
    for (struct pl_node *node = map->first; node; node = node->next) {
        if (node->key && strcmp(node->key, key) == 0)
            return node;
    }
    return NULL;
}

void pl_node_append(struct pl_node *parent, struct pl_node *child)
{
    struct pl_node **at = &parent->first;
    while (*at)
        at = &(*at)->next;
    child->next = NULL;
    *at = child;
}

bool pl_node_is_empty(const struct pl_node *node)
{
    return node->kind == PL_NODE_SCALAR && !node->is_quoted && node->text[0] == '\0';
}
