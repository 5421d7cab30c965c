/*
 * config.def as tables, for those who read, check and describe the configuration.
 */
#ifndef PL_SERVER_CONFIG_TABLE_H
#define PL_SERVER_CONFIG_TABLE_H

#include "server/config.h"
#include "server/yaml.h"

/* 100 years in milliseconds: more can only be `never`. */
#define PL_CONFIG_TIME_MAX 3155760000000ull

enum pl_key_type {
    PL_KEY_BOOL,
    PL_KEY_COUNT,
    PL_KEY_PORT,
    PL_KEY_SIZE,
    PL_KEY_TIME,
    PL_KEY_TEXT,
    PL_KEY_PATH,
    PL_KEY_LIST,
    PL_KEY_PAIRS,
    PL_KEY_LEVEL,
    PL_KEY_REPLAY,
    PL_KEY_ROLE_REPLAY,
    PL_KEY_SLOW,
    PL_KEY_TLS,
    PL_KEY_ALLOW,
    PL_KEY_PLAIN,
    PL_KEY_DISCLOSE,
    PL_KEY_CHALLENGE,
    PL_KEY_SECTION, /* a map of its own */
    PL_KEY_ITEMS,   /* a list of maps */
    PL_KEY_NAMED,   /* a map of maps; each struct begins with its name */
};

struct pl_config_section;

struct pl_config_key {
    const char *name;
    const char *preset; /* default, as text; NULL: it must be given */
    const char *help;
    uint64_t least, most;
    size_t offset; /* in the section's struct */
    enum pl_key_type type;
    const struct pl_config_section *section; /* of SECTION, ITEMS, NAMED */
};

struct pl_config_section {
    const char *name, *help;
    size_t size; /* of its struct */
    const struct pl_config_key *keys;
    uint32_t key_count;
};

extern const struct pl_config_section pl_config_root;
/* The listeners where none are configured, as YAML. */
extern const char pl_config_default_listeners[];

const struct pl_config_key *pl_config_find_key(
    const struct pl_config_section *section, const char *name);

/* The words of LEVEL, REPLAY …, NULL-terminated, in the order of their enum; NULL: another type. */
const char *const *pl_config_words(enum pl_key_type type);
/* "a size such as 64K or 1M", for errors and the reference. */
const char *pl_config_expected(enum pl_key_type type);

/*
 * Reads one value of a type that is no section into its place in the struct `at`. folder: of
 * relative paths. where: the key's full name, for diag.
 */
PL_MUST_USE enum pl_err pl_config_read_value(struct pl_arena *arena,
    const struct pl_config_key *key, const struct pl_node *node, const char *folder,
    const char *where, void *at, struct pl_diag *diag);
/* The default of such a key into its place. */
PL_MUST_USE enum pl_err pl_config_preset_value(
    struct pl_arena *arena, const struct pl_config_key *key, void *at);

/* "file:3: key: what", or "--set: key: what". */
PL_PRINTF(4, 5)
enum pl_err pl_config_refuse(
    struct pl_diag *diag, const struct pl_node *node, const char *where, const char *format, ...);

/* Cross-key rules; root: for the lines in diag. */
PL_MUST_USE enum pl_err pl_config_check(
    struct pl_config *config, const struct pl_node *root, struct pl_diag *diag);

#endif
