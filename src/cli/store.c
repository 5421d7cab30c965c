/* parley store: looks into the file of what outlives the server. */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "core/message_record.h"
#include "core/restore.h"
#include "server/server.h"
#include "store/store.h"

static const char help[] =
    "Usage: parley store check | stats | vacuum | export [OPTION]… [FILE]\n"
    "\n"
    "Looks into the file in which retained messages, sessions of MQTT and durable history outlive\n"
    "the server. The server must not be running. FILE is that of the configuration unless named.\n"
    "\n"
    "  check     read all of it, and count what is damaged\n"
    "  stats     what is in it\n"
    "  vacuum    give space back that is not used\n"
    "  export    print what can be read: one JSON object a line\n"
    "\n"
    "  -c, --config FILE        the server's configuration\n"
    "  -s, --set KEY=VALUE      this instead of what the file says; may be repeated\n"
    "      --data DIR           folder of what the server keeps\n"
    "  -h, --help               this text\n"
    "\n"
    "Exit code: 0 fine, 1 damaged or not to be read, 2 wrong arguments or configuration.\n";

enum { SETS_MAX = 256 };

/* What is counted, and whether it is printed. */
struct look {
    bool is_printed, is_broken;
    uint64_t messages, retained, sessions, subscriptions, others, unreadable;
    struct pl_times now;
};

static void add_bytes(json_t *to, const char *name, struct pl_bytes bytes)
{
    json_t *text = json_stringn((const char *)bytes.data, bytes.len);
    if (text) {
        (void)json_object_set_new(to, name, text);
        return;
    }
    char longer[64];
    char *encoded = pl_alloc(bytes.len / 3 * 4 + 5);
    if (!encoded)
        return;
    size_t len = pl_base64_encode(bytes, false, encoded);
    snprintf(longer, sizeof longer, "%s_base64", name);
    (void)json_object_set_new(to, longer, json_stringn(encoded, len));
    pl_free(encoded);
}

static void print_object(struct look *look, json_t *object)
{
    if (look->is_printed && (json_dumpf(object, stdout, JSON_COMPACT) || putchar('\n') == EOF))
        look->is_broken = true;
    json_decref(object);
}

static json_t *new_object(const char *kind, struct pl_bytes realm)
{
    json_t *object = json_object();
    (void)json_object_set_new(object, "kind", json_string(kind));
    add_bytes(object, "realm", realm);
    return object;
}

static void add_message(json_t *to, const struct pl_message *m)
{
    add_bytes(to, "subject", m->subject);
    add_bytes(to, "payload", pl_message_plain(m));
    (void)json_object_set_new(to, "qos", json_integer(m->qos));
    (void)json_object_set_new(to, "time_unix_ms", json_integer((json_int_t)m->time_unix_ms));
    if (m->offset)
        (void)json_object_set_new(to, "offset", json_integer((json_int_t)m->offset));
    if (m->reply.len)
        add_bytes(to, "reply", m->reply);
    const struct pl_properties *p = m->properties;
    if (!p)
        return;
    if (p->content_type.len)
        add_bytes(to, "content_type", p->content_type);
    json_t *headers = p->header_count ? json_array() : NULL;
    for (uint32_t i = 0; headers && i < p->header_count; i++) {
        json_t *pair = json_object();
        add_bytes(pair, "name", p->headers[i].name);
        add_bytes(pair, "value", p->headers[i].value);
        (void)json_array_append_new(headers, pair);
    }
    if (headers)
        (void)json_object_set_new(to, "headers", headers);
}

static enum pl_err on_message(void *context, struct pl_bytes realm, struct pl_message *kept)
{
    struct look *look = context;
    look->messages++;
    json_t *object = new_object(kept->offset ? "history" : "message", realm);
    add_message(object, kept);
    print_object(look, object);
    pl_message_unref(kept);
    return look->is_broken ? PL_IO : PL_OK;
}

static void add_session_name(json_t *to, struct pl_bytes name)
{
    const uint8_t *end = name.len ? memchr(name.data, 0, name.len) : NULL;
    size_t user_len = end ? (size_t)(end - name.data) : 0;
    add_bytes(to, "user", pl_bytes_of(name.data, user_len));
    add_bytes(to, "session", end ? pl_bytes_from(name, user_len + 1) : name);
}

static json_t *describe(
    struct look *look, const struct pl_state_key *key, enum pl_state kind, struct pl_bytes value)
{
    json_t *object;
    struct pl_message *kept;
    struct pl_stored_session session;
    switch (kind) {
    case PL_STATE_RETAINED:
        if (pl_message_read(value, &look->now, &kept))
            return NULL;
        look->retained++;
        object = new_object("retained", key->realm);
        add_message(object, kept);
        pl_message_unref(kept);
        return object;
    case PL_STATE_SESSION:
        if (pl_stored_session_parse(key, value, &session))
            return NULL;
        look->sessions++;
        object = new_object("session", key->realm);
        add_session_name(object, key->first);
        add_bytes(object, "protocol", session.protocol);
        if (session.expiry_ms != PL_NEVER)
            (void)json_object_set_new(
                object, "expiry_ms", json_integer((json_int_t)session.expiry_ms));
        if (session.left_unix_ms)
            (void)json_object_set_new(
                object, "left_unix_ms", json_integer((json_int_t)session.left_unix_ms));
        return object;
    case PL_STATE_SUBSCRIPTION:
        look->subscriptions++;
        object = new_object("subscription", key->realm);
        add_session_name(object, key->first);
        add_bytes(object, "filter", key->second);
        return object;
    case PL_STATE_PROGRESS:
    case PL_STATE_LOG:
        look->others++;
        return new_object(kind == PL_STATE_LOG ? "log" : "progress", key->realm);
    }
    return NULL;
}

static enum pl_err on_state(void *context, struct pl_bytes key, struct pl_bytes value)
{
    struct look *look = context;
    struct pl_state_key parts;
    json_t *object = pl_state_key_parse(key, &parts)
                         ? NULL
                         : describe(look, &parts, (enum pl_state)key.data[0], value);
    if (object)
        print_object(look, object);
    else
        look->unreadable++;
    return look->is_broken ? PL_IO : PL_OK;
}

static enum pl_err look_through(struct pl_store *store, struct look *look, struct pl_diag *diag)
{
    static const enum pl_state kinds[] = {PL_STATE_RETAINED, PL_STATE_SESSION,
        PL_STATE_SUBSCRIPTION, PL_STATE_PROGRESS, PL_STATE_LOG};
    enum pl_err err = PL_OK;
    look->now = (struct pl_times){1, (uint64_t)time(NULL) * 1000};
    for (size_t i = 0; !err && i < sizeof kinds / sizeof kinds[0]; i++)
        err = pl_store_each_state(store, kinds[i], on_state, look, diag);
    return err ? err : pl_store_each_message(store, &look->now, on_message, look, diag);
}

static void print_stats(const struct look *look, const struct pl_store_stats *stats)
{
    printf("file_bytes     %" PRIu64 "\n", stats->file_bytes);
    printf("messages       %" PRIu64 "\n", look->messages);
    printf("message_bytes  %" PRIu64 "\n", stats->group_bytes);
    printf("groups         %" PRIu64 "\n", stats->groups);
    printf("retained       %" PRIu64 "\n", look->retained);
    printf("sessions       %" PRIu64 "\n", look->sessions);
    printf("subscriptions  %" PRIu64 "\n", look->subscriptions);
}

static int report(
    const char *verb, const char *file, struct look *look, const struct pl_store_stats *stats)
{
    uint64_t damaged = stats->damaged + look->unreadable;
    if (!strcmp(verb, "stats"))
        print_stats(look, stats);
    if (damaged) {
        fprintf(stderr,
            "parley store: %s is damaged: %" PRIu64 " parts of it cannot be read; `parley store "
            "export` prints the others\n",
            file, damaged);
        return PL_EXIT_FAILED;
    }
    if (!strcmp(verb, "check"))
        printf("%s is fine: %" PRIu64 " messages, %" PRIu64 " retained, %" PRIu64
               " sessions, %" PRIu64 " subscriptions\n",
            file, look->messages, look->retained, look->sessions, look->subscriptions);
    return PL_EXIT_OK;
}

static int fail(const struct pl_diag *diag, enum pl_err err)
{
    fprintf(stderr, "parley store: %s\n", diag->text[0] ? diag->text : pl_err_text(err));
    return PL_EXIT_FAILED;
}

static int run(const char *verb, const char *file)
{
    struct pl_diag diag = {{0}, 0};
    struct pl_store *store = NULL;
    struct look look = {.is_printed = !strcmp(verb, "export")};
    struct pl_store_stats stats;
    bool is_vacuum = !strcmp(verb, "vacuum");
    struct pl_store_options options = {
        .file = file,
        .is_read_only = !is_vacuum,
        .may_be_damaged = !is_vacuum,
        .must_exist = true,
    };
    enum pl_err err = pl_store_open(&options, &store, &diag);
    if (err)
        return fail(&diag, err);
    err = is_vacuum ? pl_store_vacuum(store, &diag) : look_through(store, &look, &diag);
    pl_store_stats(store, &stats);
    /* What check_pages says counts as well. */
    if (!err && !strcmp(verb, "check"))
        err = pl_store_check_pages(store, &diag);
    pl_store_free(store);
    return err ? fail(&diag, err) : report(verb, file, &look, &stats);
}

int pl_cmd_store(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 's'},
        {"data", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    static const char *const verbs[] = {"check", "stats", "vacuum", "export", NULL};
    const char *sets[SETS_MAX];
    char data[4200];
    struct pl_server_options server = {.sets = sets};
    int option;
    while ((option = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return PL_EXIT_OK;
        }
        if (option == '?')
            return pl_cli_usage("store", "wrong option");
        if (option != 'c' && server.set_count == SETS_MAX)
            return pl_cli_usage("store", "too many --set");
        if (option == 'c') {
            server.config_file = optarg;
        } else if (option == 'd') {
            snprintf(data, sizeof data, "data=%s", optarg);
            sets[server.set_count++] = data;
        } else {
            sets[server.set_count++] = optarg;
        }
    }
    const char *const *verb = verbs;
    while (*verb && (optind >= argc || strcmp(*verb, argv[optind]) != 0))
        verb++;
    if (!*verb || argc - optind > 2)
        return pl_cli_usage("store", "check, stats, vacuum or export is expected");
    if (argc - optind == 2)
        return run(*verb, argv[optind + 1]);
    struct pl_diag diag = {{0}, 0};
    char *file = NULL;
    enum pl_err err = pl_server_store_file(&server, &file, &diag);
    if (err) {
        fail(&diag, err);
        return PL_EXIT_USAGE;
    }
    int code = run(*verb, file);
    pl_free(file);
    return code;
}
