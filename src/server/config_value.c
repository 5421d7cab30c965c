/*
 * One value of the configuration: text → C, with an error that says what was expected.
 */
#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "base/text.h"
#include "server/config_table.h"

static const char *const level_words[] = {"debug", "info", "warn", "error", NULL};
static const char *const replay_words[] = {"none", "retained", "history", NULL};
static const char *const role_replay_words[] = {"listener", "none", "retained", "history", NULL};
static const char *const slow_words[] = {
    "protocol", "disconnect", "drop_newest", "drop_oldest", "keep_latest", NULL};
static const char *const tls_words[] = {"off", "on", "direct", "optional", NULL};
static const char *const allow_words[] = {"auto", "true", "false", NULL};
static const char *const plain_words[] = {"auto", "json", "raw", NULL};
static const char *const disclose_words[] = {"ask", "always", "never", NULL};
static const char *const challenge_words[] = {"tls-alpn-01", "http-01", NULL};

const char *const *pl_config_words(enum pl_key_type type)
{
    switch (type) {
    case PL_KEY_LEVEL:
        return level_words;
    case PL_KEY_REPLAY:
        return replay_words;
    case PL_KEY_ROLE_REPLAY:
        return role_replay_words;
    case PL_KEY_SLOW:
        return slow_words;
    case PL_KEY_TLS:
        return tls_words;
    case PL_KEY_ALLOW:
        return allow_words;
    case PL_KEY_PLAIN:
        return plain_words;
    case PL_KEY_DISCLOSE:
        return disclose_words;
    case PL_KEY_CHALLENGE:
        return challenge_words;
    case PL_KEY_BOOL:
    case PL_KEY_COUNT:
    case PL_KEY_PORT:
    case PL_KEY_SIZE:
    case PL_KEY_TIME:
    case PL_KEY_TEXT:
    case PL_KEY_PATH:
    case PL_KEY_LIST:
    case PL_KEY_PAIRS:
    case PL_KEY_SECTION:
    case PL_KEY_ITEMS:
    case PL_KEY_NAMED:
        break;
    }
    return NULL;
}

const char *pl_config_expected(enum pl_key_type type)
{
    switch (type) {
    case PL_KEY_BOOL:
        return "true or false";
    case PL_KEY_COUNT:
        return "a number";
    case PL_KEY_PORT:
        return "a port, 0 to 65535";
    case PL_KEY_SIZE:
        return "a size such as 4096, 64K, 1M";
    case PL_KEY_TIME:
        return "a time such as 500ms, 30s, 5m, 24h, 7d, or never";
    case PL_KEY_TEXT:
        return "a text";
    case PL_KEY_PATH:
        return "a path";
    case PL_KEY_LIST:
        return "a text or a list of texts";
    case PL_KEY_PAIRS:
        return "a map of texts";
    case PL_KEY_LEVEL:
        return "debug, info, warn or error";
    case PL_KEY_REPLAY:
        return "none, retained or history";
    case PL_KEY_ROLE_REPLAY:
        return "listener, none, retained or history";
    case PL_KEY_SLOW:
        return "protocol, disconnect, drop_newest, drop_oldest or keep_latest";
    case PL_KEY_TLS:
        return "off, on, direct or optional";
    case PL_KEY_ALLOW:
        return "auto, true or false";
    case PL_KEY_PLAIN:
        return "auto, json or raw";
    case PL_KEY_DISCLOSE:
        return "ask, always or never";
    case PL_KEY_CHALLENGE:
        return "tls-alpn-01 or http-01";
    case PL_KEY_SECTION:
        return "a map of keys";
    case PL_KEY_ITEMS:
        return "a list of maps";
    case PL_KEY_NAMED:
        return "a map of names, each with a map of keys";
    }
    return "";
}

enum pl_err pl_config_refuse(
    struct pl_diag *diag, const struct pl_node *node, const char *where, const char *format, ...)
{
    char what[160];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (node && node->line)
        pl_diag_set(diag, (int)node->line, "%s:%u: %s: %s", node->file, node->line, where, what);
    else if (node)
        pl_diag_set(diag, 0, "%s: %s: %s", node->file, where, what);
    else
        pl_diag_set(diag, 0, "%s: %s", where, what);
    return PL_CONFIG;
}

/* Bytes, or milliseconds: a decimal number with a suffix of the table. */
struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit sizes[] = {{"", 1}, {"B", 1}, {"K", 1024}, {"k", 1024}, {"KB", 1024},
    {"KiB", 1024}, {"M", 1 << 20}, {"MB", 1 << 20}, {"MiB", 1 << 20}, {"G", 1 << 30},
    {"GB", 1 << 30}, {"GiB", 1 << 30}, {NULL, 0}};
static const struct unit times[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000},
    {"d", 86400000}, {"w", 604800000}, {NULL, 0}};

static bool read_quantity(const char *text, const struct unit *units, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (digits == 0 || pl_parse_decimal(pl_bytes_of(text, digits), UINT64_MAX, &number))
        return false;
    const char *suffix = text + digits;
    while (*suffix == ' ')
        suffix++;
    for (const struct unit *u = units; u->suffix; u++) {
        if (strcmp(u->suffix, suffix) == 0)
            return !__builtin_mul_overflow(number, u->factor, out);
    }
    return false;
}

static bool read_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (size_t i = 0; i < 3; i++) {
        *out = strcmp(text, yes[i]) == 0;
        if (*out || strcmp(text, no[i]) == 0)
            return true;
    }
    return false;
}

/* A word of an enum; what YAML calls true and false may stand for on, off, yes, no. */
static bool read_word(const char *const *words, const char *text, uint8_t *out)
{
    bool truth;
    bool is_bool = read_bool(text, &truth);
    for (uint8_t i = 0; words[i]; i++) {
        bool same_truth, word_truth;
        same_truth = is_bool && read_bool(words[i], &word_truth) && word_truth == truth;
        if (same_truth || strcmp(words[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static enum pl_err read_path(
    struct pl_arena *arena, const char *text, const char *folder, const char **out)
{
    size_t folder_len = folder && text[0] != '/' && text[0] != '\0' ? strlen(folder) : 0;
    size_t len = strlen(text);
    char *path = pl_arena_alloc(arena, folder_len + len + 2);
    if (!path)
        return PL_NO_MEMORY;
    snprintf(path, folder_len + len + 2, "%.*s%s%s", (int)folder_len, folder_len ? folder : "",
        folder_len ? "/" : "", text);
    *out = path;
    return PL_OK;
}

/* "a, b c" → three items. */
static enum pl_err split_list(struct pl_arena *arena, const char *text, struct pl_text_list *out)
{
    static const char blanks[] = ", \t";
    uint32_t count = 0;
    for (const char *at = text + strspn(text, blanks); *at; at += strspn(at, blanks)) {
        at += strcspn(at, blanks);
        count++;
    }
    const char **items = pl_arena_alloc(arena, (count + 1) * sizeof *items);
    if (!items)
        return PL_NO_MEMORY;
    uint32_t i = 0;
    for (const char *at = text + strspn(text, blanks); *at; at += strspn(at, blanks)) {
        size_t len = strcspn(at, blanks);
        if (!(items[i++] = pl_arena_copy(arena, pl_bytes_of(at, len))))
            return PL_NO_MEMORY;
        at += len;
    }
    *out = (struct pl_text_list){items, count};
    return PL_OK;
}

static enum pl_err read_list(struct pl_arena *arena, const struct pl_config_key *key,
    const struct pl_node *node, const char *where, struct pl_text_list *out, struct pl_diag *diag)
{
    if (node->kind == PL_NODE_SCALAR && !node->is_quoted)
        return split_list(arena, node->text, out);
    uint32_t count = 0;
    const struct pl_node *first = node->kind == PL_NODE_SCALAR ? node : node->first;
    const struct pl_node *end = node->kind == PL_NODE_SCALAR ? node->next : NULL;
    for (const struct pl_node *item = first; item != end; item = item->next)
        count++;
    const char **items = pl_arena_alloc(arena, (count + 1) * sizeof *items);
    if (!items)
        return PL_NO_MEMORY;
    count = 0;
    for (const struct pl_node *item = first; item != end; item = item->next) {
        if (item->kind != PL_NODE_SCALAR || strlen(item->text) < key->least)
            return pl_config_refuse(diag, item, where, "expected a text in the list");
        items[count++] = item->text;
    }
    *out = (struct pl_text_list){items, count};
    return PL_OK;
}

static enum pl_err read_pairs(struct pl_arena *arena, const struct pl_config_key *key,
    const struct pl_node *node, const char *where, struct pl_text_pairs *out, struct pl_diag *diag)
{
    uint32_t count = 0;
    for (const struct pl_node *item = node->first; item; item = item->next)
        count++;
    struct pl_text_pair *pairs = pl_arena_alloc(arena, (count + 1) * sizeof *pairs);
    if (!pairs)
        return PL_NO_MEMORY;
    count = 0;
    for (const struct pl_node *item = node->first; item; item = item->next) {
        if (item->kind != PL_NODE_SCALAR || strlen(item->text) < key->least)
            return pl_config_refuse(diag, item, where, "expected a text for %.40s", item->key);
        pairs[count++] = (struct pl_text_pair){item->key, item->text};
    }
    *out = (struct pl_text_pairs){pairs, count};
    return PL_OK;
}

static enum pl_err out_of_range(const struct pl_config_key *key, const struct pl_node *node,
    const char *where, struct pl_diag *diag)
{
    const char *unit = key->type == PL_KEY_SIZE ? " bytes" : key->type == PL_KEY_TIME ? " ms" : "";
    return pl_config_refuse(diag, node, where, "expected %llu to %llu%s, found %.40s",
        (unsigned long long)key->least,
        key->most == UINT64_MAX ? PL_CONFIG_TIME_MAX : (unsigned long long)key->most, unit,
        node->text);
}

/* A sum of a time and the clock must not overflow. */
static bool is_at_most(uint64_t number, uint64_t most)
{
    return number <= (most == UINT64_MAX && number != UINT64_MAX ? PL_CONFIG_TIME_MAX : most);
}

/* Numbers: false if the text is none. */
static bool read_number(const struct pl_config_key *key, const char *text, uint64_t *out)
{
    if (key->type == PL_KEY_SIZE)
        return read_quantity(text, sizes, out);
    if (key->type == PL_KEY_TIME && strcmp(text, "never") == 0) {
        *out = UINT64_MAX;
        return true;
    }
    if (key->type == PL_KEY_TIME)
        return read_quantity(text, times, out);
    return pl_parse_decimal(pl_bytes_text(text), UINT64_MAX, out) == PL_OK;
}

static void store_number(const struct pl_config_key *key, uint64_t number, void *at)
{
    if (key->type == PL_KEY_COUNT)
        *(uint32_t *)at = (uint32_t)number;
    else if (key->type == PL_KEY_PORT)
        *(uint16_t *)at = (uint16_t)number;
    else
        *(uint64_t *)at = number;
}

static enum pl_err read_scalar(struct pl_arena *arena, const struct pl_config_key *key,
    const struct pl_node *node, const char *folder, const char *where, void *at,
    struct pl_diag *diag)
{
    uint64_t number;
    size_t len = strlen(node->text);
    switch (key->type) {
    case PL_KEY_BOOL:
        if (read_bool(node->text, at))
            return PL_OK;
        break;
    case PL_KEY_COUNT:
    case PL_KEY_PORT:
    case PL_KEY_SIZE:
    case PL_KEY_TIME:
        if (!read_number(key, node->text, &number))
            break;
        if (number < key->least || !is_at_most(number, key->most))
            return out_of_range(key, node, where, diag);
        store_number(key, number, at);
        return PL_OK;
    case PL_KEY_TEXT:
    case PL_KEY_PATH:
        if (len < key->least || len > key->most)
            return pl_config_refuse(diag, node, where, "expected %s of %llu to %llu bytes",
                pl_config_expected(key->type), (unsigned long long)key->least,
                (unsigned long long)key->most);
        if (key->type == PL_KEY_PATH)
            return read_path(arena, node->text, folder, at);
        *(const char **)at = node->text;
        return PL_OK;
    case PL_KEY_LEVEL:
    case PL_KEY_REPLAY:
    case PL_KEY_ROLE_REPLAY:
    case PL_KEY_SLOW:
    case PL_KEY_TLS:
    case PL_KEY_ALLOW:
    case PL_KEY_PLAIN:
    case PL_KEY_DISCLOSE:
    case PL_KEY_CHALLENGE:
        if (read_word(pl_config_words(key->type), node->text, at))
            return PL_OK;
        break;
    case PL_KEY_LIST:
    case PL_KEY_PAIRS:
    case PL_KEY_SECTION:
    case PL_KEY_ITEMS:
    case PL_KEY_NAMED:
        break;
    }
    return pl_config_refuse(diag, node, where, "expected %s, found %.40s",
        pl_config_expected(key->type), len ? node->text : "nothing");
}

enum pl_err pl_config_read_value(struct pl_arena *arena, const struct pl_config_key *key,
    const struct pl_node *node, const char *folder, const char *where, void *at,
    struct pl_diag *diag)
{
    if (key->type == PL_KEY_LIST && node->kind != PL_NODE_MAP)
        return read_list(arena, key, node, where, at, diag);
    if (key->type == PL_KEY_PAIRS && node->kind == PL_NODE_MAP)
        return read_pairs(arena, key, node, where, at, diag);
    if (node->kind == PL_NODE_SCALAR)
        return read_scalar(arena, key, node, folder, where, at, diag);
    return pl_config_refuse(diag, node, where, "expected %s, found a %s",
        pl_config_expected(key->type), node->kind == PL_NODE_MAP ? "map" : "list");
}

/* "/ nats /nats nats": keys and values in turn. */
static enum pl_err preset_pairs(struct pl_arena *arena, const char *text, struct pl_text_pairs *out)
{
    struct pl_text_list words;
    enum pl_err err = split_list(arena, text, &words);
    if (err)
        return err;
    struct pl_text_pair *pairs = pl_arena_alloc(arena, (words.count / 2 + 1) * sizeof *pairs);
    if (!pairs)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i + 1 < words.count; i += 2)
        pairs[i / 2] = (struct pl_text_pair){words.items[i], words.items[i + 1]};
    *out = (struct pl_text_pairs){pairs, words.count / 2};
    return PL_OK;
}

enum pl_err pl_config_preset_value(
    struct pl_arena *arena, const struct pl_config_key *key, void *at)
{
    if (!key->preset)
        return PL_OK;
    if (key->type == PL_KEY_LIST)
        return split_list(arena, key->preset, at);
    if (key->type == PL_KEY_PAIRS)
        return preset_pairs(arena, key->preset, at);
    struct pl_node node = {.kind = PL_NODE_SCALAR, .text = key->preset, .file = "config.def"};
    struct pl_diag diag;
    enum pl_err err = read_scalar(arena, key, &node, NULL, key->name, at, &diag);
    PL_ASSERT(err == PL_OK || err == PL_NO_MEMORY);
    return err;
}
