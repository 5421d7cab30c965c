/*
 * The tables of the configuration as text: a file of the defaults, and the reference page.
 */
#include <string.h>

#include "server/config_table.h"

enum { COLUMNS = 96 };

/* Text in lines of at most COLUMNS, each behind the prefix. */
static void print_wrapped(FILE *out, const char *prefix, const char *text)
{
    size_t room = COLUMNS - strlen(prefix);
    while (*text) {
        size_t len = strlen(text);
        if (len > room) {
            for (len = room; len > 0 && text[len] != ' ';)
                len--;
            if (len == 0)
                len = strcspn(text, " ");
        }
        fprintf(out, "%s%.*s\n", prefix, (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
}

/* The default as YAML. */
static void print_preset(FILE *out, const struct pl_config_key *key)
{
    const char *preset = key->preset ? key->preset : "";
    if (key->type == PL_KEY_LIST) {
        fputs("[", out);
        for (const char *at = preset; *at;) {
            size_t len = strcspn(at, " ");
            bool needs_quotes = memchr(at, ':', len) != NULL;
            const char *quote = needs_quotes ? "\"" : "";
            fprintf(out, "%s%s%.*s%s", at == preset ? "" : ", ", quote, (int)len, at, quote);
            at += len + (at[len] == ' ');
        }
        fputs("]", out);
    } else if (key->type == PL_KEY_PAIRS) {
        fputs("{", out);
        for (const char *at = preset; *at;) {
            size_t name = strcspn(at, " "), value = strcspn(at + name + 1, " ");
            fprintf(out, "%s%.*s: %.*s", at == preset ? "" : ", ", (int)name, at, (int)value,
                at + name + 1);
            at += name + 1 + value;
            at += strspn(at, " ");
        }
        fputs("}", out);
    } else if ((key->type == PL_KEY_TEXT || key->type == PL_KEY_PATH) &&
               (!preset[0] || strcmp(key->name, "unix_mode") == 0)) {
        fprintf(out, "\"%s\"", preset);
    } else {
        fputs(preset, out);
    }
}

static void print_default_keys(
    FILE *out, const struct pl_config_section *section, const char *indent, bool is_comment)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s# ", indent);
    for (uint32_t i = 0; i < section->key_count; i++) {
        const struct pl_config_key *key = &section->keys[i];
        if (key->type >= PL_KEY_SECTION)
            continue;
        print_wrapped(out, prefix, key->help);
        fprintf(out, "%s%s%s: ", indent, is_comment ? "#" : "", key->name);
        print_preset(out, key);
        fputs("\n", out);
    }
}

static void print_default_listeners(FILE *out)
{
    fputs("\n# Where clients come in.\nlisteners:\n", out);
    for (const char *line = pl_config_default_listeners; *line;) {
        size_t len = strcspn(line, "\n");
        fprintf(out, "  %.*s\n", (int)len, line);
        line += len + 1;
    }
}

void pl_config_print_defaults(FILE *out)
{
    fputs("# The configuration of Parley with every default. docs/reference/config.md tells more.\n"
          "\n",
        out);
    print_default_keys(out, &pl_config_root, "", false);
    for (uint32_t i = 0; i < pl_config_root.key_count; i++) {
        const struct pl_config_key *key = &pl_config_root.keys[i];
        if (strcmp(key->name, "listeners") == 0) {
            print_default_listeners(out);
        } else if (key->type == PL_KEY_SECTION) {
            fputs("\n", out);
            print_wrapped(out, "# ", key->section->help);
            fprintf(out, "%s:\n", key->name);
            print_default_keys(out, key->section, "  ", false);
            for (uint32_t j = 0; j < key->section->key_count; j++) {
                const struct pl_config_key *inner = &key->section->keys[j];
                if (inner->type != PL_KEY_SECTION)
                    continue;
                print_wrapped(out, "  # ", inner->section->help);
                fprintf(out, "  %s:\n", inner->name);
                print_default_keys(out, inner->section, "    ", false);
            }
        } else if (key->type == PL_KEY_ITEMS) {
            fputs("\n", out);
            print_wrapped(out, "# ", key->section->help);
            fprintf(out, "%s: []\n", key->name);
        } else if (key->type == PL_KEY_NAMED) {
            fputs("\n", out);
            print_wrapped(out, "# ", key->section->help);
            fprintf(out, "%s: {}\n", key->name);
        }
    }
}

static void print_number(FILE *out, enum pl_key_type type, uint64_t n)
{
    static const struct {
        uint64_t factor;
        const char *suffix;
    } times[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}},
      sizes[] = {{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}, {1, ""}}, plain[] = {{1, ""}};
    const __typeof__(times[0]) *unit = type == PL_KEY_TIME   ? times
                                       : type == PL_KEY_SIZE ? sizes
                                                             : plain;
    while (unit->factor > 1 && (n == 0 || n % unit->factor))
        unit++;
    fprintf(out, "%llu%s", (unsigned long long)(n / unit->factor), unit->suffix);
}

/* What may stand there. */
static void print_type(FILE *out, const struct pl_config_key *key)
{
    const char *const *words = pl_config_words(key->type);
    for (size_t i = 0; words && words[i]; i++)
        fprintf(out, "%s`%s`", i ? ", " : "", words[i]);
    if (words)
        return;
    switch (key->type) {
    case PL_KEY_COUNT:
    case PL_KEY_PORT:
    case PL_KEY_SIZE:
    case PL_KEY_TIME:
        fputs(key->type == PL_KEY_SIZE   ? "size, "
              : key->type == PL_KEY_TIME ? "time, "
                                         : "number, ",
            out);
        print_number(out, key->type, key->least);
        fputs(" to ", out);
        if (key->most == UINT64_MAX)
            fputs("100 years, or never", out);
        else
            print_number(out, key->type, key->most);
        break;
    case PL_KEY_TEXT:
        fputs("text", out);
        break;
    default: /* The rest has one phrase that says it. */
        fputs(pl_config_expected(key->type), out);
    }
}

static void print_section(
    FILE *out, const struct pl_config_section *section, const char *path, const char *shape)
{
    if (path[0])
        fprintf(out, "\n## %s\n\n%s%s\n", path, shape, section->help);
    fputs("\n| key | value | default | meaning |\n|---|---|---|---|\n", out);
    for (uint32_t i = 0; i < section->key_count; i++) {
        const struct pl_config_key *key = &section->keys[i];
        if (key->type >= PL_KEY_SECTION)
            continue;
        fprintf(out, "| `%s` | ", key->name);
        print_type(out, key);
        fputs(" | ", out);
        if (key->preset) {
            fputs("`", out);
            print_preset(out, key);
            fputs("`", out);
        } else {
            fputs("*must be given*", out);
        }
        fprintf(out, " | %s. |\n", key->help);
    }
    for (uint32_t i = 0; i < section->key_count; i++) {
        const struct pl_config_key *key = &section->keys[i];
        bool is_known = strcmp(path, "listeners") == 0 || strcmp(path, "realms") == 0;
        if (key->type < PL_KEY_SECTION || is_known)
            continue; /* `client` and `history` are told once. */
        char inner[80];
        snprintf(inner, sizeof inner, "%s%s%s", path, path[0] ? "." : "", key->name);
        print_section(out, key->section, inner,
            key->type == PL_KEY_ITEMS   ? "A list of maps with these keys. "
            : key->type == PL_KEY_NAMED ? "A map of names, each with a map of these keys. "
                                        : "");
    }
}

void pl_config_print_reference(FILE *out)
{
    fputs("# Configuration\n"
          "\n"
          "<!-- Made by `parley check --print-reference` from src/server/config.def. -->\n"
          "\n"
          "`parley serve FILE` reads YAML (JSON is YAML, too). Unknown keys and keys that stand "
          "twice are errors; `parley check FILE` tells them without starting anything, `parley "
          "check --defaults` prints a file with every default.\n"
          "\n"
          "Every key can be given in two more ways, which win over the file, the latter over the "
          "former:\n"
          "\n"
          "- a variable: `PARLEY_` and the key in capitals, `_` for `.`: "
          "`PARLEY_LIMITS_PAYLOAD=2M`. Lists are given as YAML: "
          "`PARLEY_LISTENERS='[{name: mqtt, port: 1883, protocols: mqtt}]'`.\n"
          "- an argument: `--set limits.payload=2M`; `--set listeners.mqtt.port=1884` changes the "
          "listener of that name, also one of the default ones.\n"
          "\n"
          "Sizes are bytes, or have K, M, G (1024, 1024², 1024³); times have ms, s, m, h, d, w. "
          "Relative paths begin in the file's folder, in variables and arguments where the "
          "program was started. SIGHUP reads the file again; users, keys, certificates, roles and "
          "the log level take effect at once, the rest at the next start.\n",
        out);
    print_section(out, &pl_config_root, "", "");
}
