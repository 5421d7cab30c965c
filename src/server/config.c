#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "server/config_table.h"
#include "server/nexus.h"

enum { WHERE_MAX = 200 };

static const char builtin_file[] = "defaults";

struct reader {
    struct pl_arena *arena;
    struct pl_diag *diag;
    const char *file;   /* of the configuration; its relative paths begin in folder */
    const char *folder; /* NULL: where the process stands */
    struct pl_text_list unknown;
    bool has_mles_key; /* the variable MLES_KEY is there, maybe empty */
};

/* Where an ITEMS or NAMED key keeps its structs. */
struct items {
    void *items;
    uint32_t count;
};

static void join(char out[WHERE_MAX], const char *where, const char *name)
{
    snprintf(out, WHERE_MAX, "%s%s%s", where, where[0] && name[0] != '[' ? "." : "", name);
}

/* ---- Nodes → structs ---- */

static enum pl_err read_section(struct reader *r, const struct pl_config_section *section,
    const struct pl_node *node, const char *where, void *at);

static enum pl_err preset_section(
    struct reader *r, const struct pl_config_section *section, void *at)
{
    for (uint32_t i = 0; i < section->key_count; i++) {
        const struct pl_config_key *key = &section->keys[i];
        void *place = (char *)at + key->offset;
        enum pl_err err = PL_OK;
        if (key->type == PL_KEY_SECTION)
            err = preset_section(r, key->section, place);
        else if (key->type != PL_KEY_ITEMS && key->type != PL_KEY_NAMED)
            err = pl_config_preset_value(r->arena, key, place);
        if (err)
            return err;
    }
    return PL_OK;
}

/* A list of maps, or a map of maps: an array of the section's struct. */
static enum pl_err read_items(struct reader *r, const struct pl_config_key *key,
    const struct pl_node *node, const char *where, void *at, const struct pl_config *root)
{
    bool is_named = key->type == PL_KEY_NAMED;
    if (node->kind != (is_named ? PL_NODE_MAP : PL_NODE_LIST))
        return pl_config_refuse(r->diag, node, where, "expected %s", pl_config_expected(key->type));
    struct items list = {0};
    for (const struct pl_node *item = node->first; item; item = item->next)
        list.count++;
    list.items = pl_arena_zalloc(r->arena, (list.count + 1) * key->section->size);
    if (!list.items)
        return PL_NO_MEMORY;
    uint32_t i = 0;
    for (const struct pl_node *item = node->first; item; item = item->next, i++) {
        char index[16], inner[WHERE_MAX];
        snprintf(index, sizeof index, "[%u]", i);
        join(inner, where, is_named ? item->key : index);
        void *place = (char *)list.items + i * key->section->size;
        enum pl_err err = preset_section(r, key->section, place);
        if (err)
            return err;
        if (is_named)
            memcpy(place, &item->key, sizeof item->key);
        if (pl_config_find_key(key->section, "client"))
            ((struct pl_config_listener *)place)->client = root->client;
        err = read_section(r, key->section, item, inner, place);
        if (err)
            return err;
    }
    memcpy(at, &list, sizeof list);
    return PL_OK;
}

static enum pl_err refuse_unknown(struct reader *r, const struct pl_config_section *section,
    const struct pl_node *node, const char *where)
{
    for (const struct pl_node *entry = node->first; entry; entry = entry->next) {
        if (pl_config_find_key(section, entry->key))
            continue;
        char name[WHERE_MAX];
        join(name, where, entry->key);
        char known[120] = "";
        size_t len = 0;
        for (uint32_t i = 0; i < section->key_count && len < sizeof known - 1; i++) {
            int n = snprintf(
                known + len, sizeof known - len, "%s%s", i ? ", " : "", section->keys[i].name);
            len += n > 0 ? (size_t)n : 0;
        }
        return pl_config_refuse(r->diag, entry, name, "unknown key; expected one of %s%s", known,
            len >= sizeof known - 1 ? "…" : "");
    }
    return PL_OK;
}

/* What the node does not say stays as it is. */
static enum pl_err read_section(struct reader *r, const struct pl_config_section *section,
    const struct pl_node *node, const char *where, void *at)
{
    /* All of its keys are commented out: then it has none. */
    static const struct pl_node nothing = {.kind = PL_NODE_MAP};
    const struct pl_node *given = node;
    if (pl_node_is_empty(node))
        node = &nothing;
    if (node->kind != PL_NODE_MAP)
        return pl_config_refuse(r->diag, node, where[0] ? where : "configuration", "expected %s",
            pl_config_expected(PL_KEY_SECTION));
    enum pl_err err = refuse_unknown(r, section, node, where);
    for (uint32_t i = 0; i < section->key_count && !err; i++) {
        const struct pl_config_key *key = &section->keys[i];
        const struct pl_node *value = pl_node_find(node, key->name);
        void *place = (char *)at + key->offset;
        char name[WHERE_MAX];
        join(name, where, key->name);
        if (!value && !key->preset)
            err = pl_config_refuse(r->diag, given, name, "must be given");
        else if (!value)
            continue;
        else if (key->type == PL_KEY_SECTION)
            err = read_section(r, key->section, value, name, place);
        else if (key->type == PL_KEY_ITEMS || key->type == PL_KEY_NAMED)
            /* Only the root has lists whose items take over something of it. */
            err = pl_node_is_empty(value) ? PL_OK : read_items(r, key, value, name, place, at);
        else
            err = pl_config_read_value(r->arena, key, value,
                value->file == r->file ? r->folder : NULL, name, place, r->diag);
    }
    return err;
}

/* ---- Variables and --set: one node each, put into the tree ---- */

static struct pl_node *find_item(const struct pl_node *list, const struct pl_bytes name)
{
    for (struct pl_node *item = list->first; item; item = item->next) {
        const struct pl_node *its_name =
            item->kind == PL_NODE_MAP ? pl_node_find(item, "name") : NULL;
        if (its_name && its_name->kind == PL_NODE_SCALAR &&
            pl_bytes_equal(pl_bytes_text(its_name->text), name))
            return item;
    }
    return NULL;
}

static enum pl_err default_listeners(struct reader *r, struct pl_node **out)
{
    return pl_yaml_parse(
        r->arena, builtin_file, pl_bytes_text(pl_config_default_listeners), out, r->diag);
}

static struct pl_node *new_map(struct reader *r, const char *origin, const char *key)
{
    struct pl_node *map = pl_arena_zalloc(r->arena, sizeof *map);
    if (map) {
        map->kind = PL_NODE_MAP;
        map->file = origin;
        map->key = key;
    }
    return map;
}

/* The entry for a section, made if it is not there or empty. NULL: no memory, or it is no map. */
static struct pl_node *enter(
    struct reader *r, struct pl_node *map, const char *key, const char *origin)
{
    struct pl_node *entry = pl_node_find(map, key);
    if (!entry && (entry = new_map(r, origin, key)))
        pl_node_append(map, entry);
    if (entry && pl_node_is_empty(entry))
        entry->kind = PL_NODE_MAP;
    return entry && entry->kind == PL_NODE_MAP ? entry : NULL;
}

/* The value of an override: text for scalars, YAML for the rest. */
static enum pl_err override_value(struct reader *r, const struct pl_config_key *key,
    const char *text, const char *origin, struct pl_node **out)
{
    bool is_yaml = key->type >= PL_KEY_SECTION || key->type == PL_KEY_PAIRS ||
                   (key->type == PL_KEY_LIST && text[0] == '[');
    if (is_yaml)
        return pl_yaml_parse(r->arena, origin, pl_bytes_text(text), out, r->diag);
    struct pl_node *node = pl_arena_zalloc(r->arena, sizeof *node);
    if (!node || !(node->text = pl_arena_copy(r->arena, pl_bytes_text(text))))
        return PL_NO_MEMORY;
    node->kind = PL_NODE_SCALAR;
    node->file = origin;
    *out = node;
    return PL_OK;
}

static enum pl_err replace(
    struct reader *r, struct pl_node *map, const char *key, struct pl_node *value)
{
    struct pl_node *old = pl_node_find(map, key);
    value->key = pl_arena_copy(r->arena, pl_bytes_text(key));
    if (!value->key)
        return PL_NO_MEMORY;
    if (!old) {
        pl_node_append(map, value);
        return PL_OK;
    }
    value->next = old->next;
    *old = *value;
    return PL_OK;
}

/* The list of an ITEMS key; of the listeners the default ones, if none are configured. */
static enum pl_err enter_list(
    struct reader *r, struct pl_node *map, const struct pl_config_key *key, struct pl_node **out)
{
    struct pl_node *list = pl_node_find(map, key->name);
    if (!list && strcmp(key->name, "listeners") == 0) {
        enum pl_err err = default_listeners(r, &list);
        if (!err)
            err = replace(r, map, key->name, list);
        if (err)
            return err;
    }
    *out = list && list->kind == PL_NODE_LIST ? list : NULL;
    return PL_OK;
}

/* path: "limits.payload", "listeners.mqtt.port". */
static enum pl_err set_path(
    struct reader *r, struct pl_node *root, const char *path, const char *text, const char *origin)
{
    const struct pl_config_section *section = &pl_config_root;
    struct pl_node *at = root;
    for (const char *part = path;;) {
        size_t len = strcspn(part, ".");
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(len < 63 ? len : 63), part);
        const struct pl_config_key *key = pl_config_find_key(section, name);
        struct pl_node *value;
        if (!key || (part[len] && key->type < PL_KEY_SECTION))
            break;
        if (!part[len]) {
            enum pl_err err = override_value(r, key, text, origin, &value);
            return err ? err : replace(r, at, name, value);
        }
        part += len + 1;
        section = key->section;
        if (key->type == PL_KEY_ITEMS) {
            len = strcspn(part, ".");
            enum pl_err err = enter_list(r, at, key, &value);
            if (err)
                return err;
            at = value ? find_item(value, pl_bytes_of(part, len)) : NULL;
            if (!at || !part[len])
                break;
            part += len + 1;
            continue;
        }
        at = enter(r, at, key->name, origin);
        if (at && key->type == PL_KEY_NAMED) {
            len = strcspn(part, ".");
            char *item = pl_arena_copy(r->arena, pl_bytes_of(part, len));
            at = item && part[len] ? enter(r, at, item, origin) : NULL;
            part += len + (part[len] != '\0');
        }
        if (!at)
            break;
    }
    const struct pl_node from = {.file = origin};
    return pl_config_refuse(r->diag, &from, path, "no such key");
}

static enum pl_err apply_set(struct reader *r, struct pl_node *root, const char *set)
{
    const char *equals = strchr(set, '=');
    const struct pl_node from = {.file = "--set"};
    if (!equals || equals == set)
        return pl_config_refuse(r->diag, &from, set, "expected key=value");
    char *path = pl_arena_copy(r->arena, pl_bytes_of(set, (size_t)(equals - set)));
    return path ? set_path(r, root, path, equals + 1, "--set") : PL_NO_MEMORY;
}

/* LIMITS_PAYLOAD → limits.payload. Names hold underscores too, so the table decides. */
static bool variable_path(const struct pl_config_section *section, const char *variable, size_t len,
    char *out, size_t cap)
{
    for (uint32_t i = 0; i < section->key_count; i++) {
        const struct pl_config_key *key = &section->keys[i];
        size_t n = strlen(key->name);
        bool same = n <= len && n < cap;
        for (size_t j = 0; same && j < n; j++)
            same = toupper((unsigned char)key->name[j]) == variable[j];
        if (!same)
            continue;
        memcpy(out, key->name, n + 1);
        if (n == len)
            return true;
        if (key->type != PL_KEY_SECTION || variable[n] != '_' || n + 1 >= cap)
            continue;
        out[n] = '.';
        if (variable_path(key->section, variable + n + 1, len - n - 1, out + n + 1, cap - n - 1))
            return true;
    }
    return false;
}

/* Those of the client commands and of our tests, and what Kubernetes sets for a service of our
 * name. */
static bool is_others(const char *name)
{
    static const char *const others[] = {
        "URL", "USER", "PASSWORD", "TOKEN", "BIN", "TEST_", "PORT", "PORT_", "SERVICE_"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size_t len = strlen(others[i]);
        if (strncmp(name, others[i], len) == 0 && (!name[len] || others[i][len - 1] == '_'))
            return true;
    }
    return false;
}

static enum pl_err add_unknown(struct reader *r, const char *name)
{
    struct pl_text_list *list = &r->unknown;
    const char **items = pl_arena_alloc(r->arena, (list->count + 1) * sizeof *items);
    if (!items)
        return PL_NO_MEMORY;
    if (list->count)
        memcpy(items, list->items, list->count * sizeof *items);
    items[list->count] = name;
    *list = (struct pl_text_list){items, list->count + 1};
    return PL_OK;
}

static enum pl_err apply_variable(struct reader *r, struct pl_node *root, const char *variable)
{
    static const char prefix[] = "PARLEY_", mles_key[] = "MLES_KEY=";
    const char *equals = strchr(variable, '=');
    /* The original server's own. */
    if (strncmp(variable, mles_key, sizeof mles_key - 1) == 0) {
        r->has_mles_key = true;
        return set_path(r, root, "mles.key", equals + 1, "MLES_KEY");
    }
    if (!equals || strncmp(variable, prefix, sizeof prefix - 1) != 0)
        return PL_OK;
    char *name = pl_arena_copy(r->arena, pl_bytes_of(variable, (size_t)(equals - variable)));
    if (!name)
        return PL_NO_MEMORY;
    char path[128];
    const char *rest = name + sizeof prefix - 1;
    if (variable_path(&pl_config_root, rest, strlen(rest), path, sizeof path))
        return set_path(r, root, path, equals + 1, name);
    return is_others(rest) ? PL_OK : add_unknown(r, name);
}

/* ---- The whole ---- */

/* Were address and port left as the program has them? */
static bool is_from_defaults(const struct pl_node *item)
{
    const struct pl_node *port = pl_node_find(item, "port");
    return port && port->file == builtin_file && !pl_node_find(item, "address") &&
           !pl_node_find(item, "unix");
}

static enum pl_err read_root(struct reader *r, struct pl_node *root, struct pl_config *config)
{
    struct pl_node *listeners;
    if (root->kind == PL_NODE_MAP && !pl_node_find(root, "listeners")) {
        enum pl_err err = default_listeners(r, &listeners);
        if (!err)
            err = replace(r, root, "listeners", listeners);
        if (err)
            return err;
    }
    enum pl_err err = preset_section(r, &pl_config_root, config);
    if (!err)
        err = read_section(r, &pl_config_root, root, "", config);
    if (err)
        return err;
    config->mles.has_key = r->has_mles_key || config->mles.key[0];
    listeners = pl_node_find(root, "listeners");
    const struct pl_node *item = listeners->first;
    for (uint32_t i = 0; i < config->listeners.count; i++, item = item->next)
        config->listeners.items[i].is_default = is_from_defaults(item);
    const struct pl_node *admin = pl_node_find(root, "admin");
    config->admin.is_default = !admin || admin->kind != PL_NODE_MAP ||
                               (!pl_node_find(admin, "address") && !pl_node_find(admin, "port"));
    return pl_config_check(config, root, r->diag);
}

static enum pl_err read_tree(const struct pl_config_sources *sources, struct reader *r,
    struct pl_node *root, struct pl_config *config)
{
    enum pl_err err = PL_OK;
    if (pl_node_is_empty(root))
        root->kind = PL_NODE_MAP;
    if (root->kind == PL_NODE_MAP) {
        for (const char *const *v = sources->environment; v && *v && !err; v++)
            err = apply_variable(r, root, *v);
        for (uint32_t i = 0; i < sources->set_count && !err; i++)
            err = apply_set(r, root, sources->sets[i]);
    }
    if (!err)
        err = read_root(r, root, config);
    config->unknown_variables = r->unknown;
    return err;
}

enum pl_err pl_config_parse(const struct pl_config_sources *sources, const char *file,
    struct pl_bytes text, struct pl_config **out, struct pl_diag *diag)
{
    struct pl_config *config = pl_zalloc(sizeof *config);
    enum pl_err err = PL_NO_MEMORY;
    if (config) {
        struct reader r = {.arena = &config->arena, .diag = diag};
        r.file = pl_arena_copy(r.arena, pl_bytes_text(file));
        const char *slash = strrchr(file, '/');
        if (slash)
            r.folder = pl_arena_copy(r.arena, pl_bytes_of(file, (size_t)(slash - file)));
        struct pl_node *root;
        if (r.file && (!slash || r.folder))
            err = pl_yaml_parse(r.arena, r.file, text, &root, diag);
        if (!err)
            err = read_tree(sources, &r, root, config);
    }
    if (err) {
        if (err == PL_NO_MEMORY)
            pl_diag_set(diag, 0, "%s: %s", file, pl_err_text(err));
        pl_config_free(config);
        return err;
    }
    *out = config;
    return PL_OK;
}

static enum pl_err read_file(const char *path, struct pl_bytes *out, struct pl_diag *diag)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        pl_diag_set(diag, errno, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return PL_IO;
    }
    uint8_t *text = pl_alloc(PL_YAML_BYTES_MAX + 1);
    size_t len = 0;
    ssize_t n = text ? 1 : -1;
    while (n > 0 && len <= PL_YAML_BYTES_MAX) {
        n = read(fd, text + len, PL_YAML_BYTES_MAX + 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    int code = errno;
    close(fd);
    if (n < 0) {
        pl_diag_set(diag, code, "%s: %s", path, strerror(text ? code : ENOMEM));
        pl_free(text);
        return PL_IO;
    }
    *out = pl_bytes_of(text, len);
    return PL_OK;
}

enum pl_err pl_config_load(
    const struct pl_config_sources *sources, struct pl_config **out, struct pl_diag *diag)
{
    if (sources->text)
        return pl_config_parse(
            sources, sources->text_name, pl_bytes_text(sources->text), out, diag);
    const char *name = sources->file ? sources->file : builtin_file;
    struct pl_bytes text = PL_NO_BYTES;
    struct pl_shared *translated = NULL;
    enum pl_err err = sources->file ? read_file(name, &text, diag) : PL_OK;
    if (!err && sources->nexus)
        err = pl_nexus_translate(name, text, sources->nexus, &translated, diag);
    if (!err)
        err = pl_config_parse(sources, name,
            translated ? pl_bytes_of(translated->data, translated->len) : text, out, diag);
    pl_shared_unref(translated);
    pl_free((void *)(uintptr_t)text.data);
    return err;
}

struct pl_config *pl_config_free(struct pl_config *config)
{
    if (config) {
        struct pl_arena arena = config->arena;
        pl_arena_done(&arena);
        pl_free(config);
    }
    return NULL;
}
