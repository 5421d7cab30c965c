#include "cli/wamp_pubsub.h"

#include "base/alloc.h"
#include "cli/commands.h"
#include "cli/wamp_client.h"

/* ---- sub ---- */

struct listener {
    const struct pl_cli_wamp_sub *wanted;
    uint64_t seen;
    bool is_broken; /* nothing can be printed any more */
};

static void on_event(
    struct parley_client *client, const struct parley_message *message, void *context)
{
    struct listener *l = context;
    size_t len = 0;
    char *plain = pl_cli_plain(message, &len);
    const char *topic = parley_message_uri(message);
    (void)client;
    if (!plain || l->is_broken || (l->wanted->count && l->seen == l->wanted->count)) {
        pl_free(plain);
        return;
    }
    const struct pl_nats_client_event event = {
        .kind = PL_NATS_CLIENT_MESSAGE,
        .subject = pl_bytes_text(topic ? topic : ""),
        .payload = pl_bytes_of(plain, len),
    };
    l->is_broken = !pl_cli_print(stdout, &event, l->wanted->style, true, false);
    l->seen++;
    pl_free(plain);
}

/* "plant.*.temp" is the wildcard "plant..temp", "plant.>" the prefix "plant.". NULL: both. */
static char *pattern_of(const char *text, enum parley_match *out)
{
    size_t len = strlen(text), at = 0;
    char *uri = pl_alloc_copy(text, len);
    bool has_any = false;
    if (!uri)
        return NULL;
    *out = PARLEY_EXACT;
    if (len && text[len - 1] == '>' && (len == 1 || text[len - 2] == '.')) {
        uri[--len] = 0;
        *out = PARLEY_PREFIX;
    }
    for (size_t i = 0; i < len; i++) {
        bool is_any =
            uri[i] == '*' && (!i || text[i - 1] == '.') && (!text[i + 1] || text[i + 1] == '.');
        has_any |= is_any;
        if (!is_any)
            uri[at++] = uri[i];
    }
    uri[at] = 0;
    if (has_any && *out == PARLEY_PREFIX) {
        pl_free(uri);
        return NULL;
    }
    if (has_any)
        *out = PARLEY_WILDCARD;
    return uri;
}

static int subscribe(struct listener *l, struct parley_client *client, const char *text)
{
    struct parley_subscribe_options options = PARLEY_SUBSCRIBE_OPTIONS;
    struct parley_message *answer = NULL;
    char *uri = pattern_of(text, &options.match);
    if (!uri)
        return pl_cli_usage("sub", "not a pattern of WAMP: '%s'", text);
    enum parley_code code =
        parley_subscribe_wait(client, uri, &options, on_event, l, PL_CLI_ANSWER_MS, NULL, &answer);
    int exit_code = code ? pl_cli_wamp_fail("sub", code, answer) : -1;
    parley_message_free(answer);
    pl_free(uri);
    return exit_code;
}

/* An exit code. */
static int listen_to(struct listener *l, struct parley_client *client)
{
    const struct pl_cli_wamp_sub *wanted = l->wanted;
    uint64_t end_ms =
        wanted->timeout_ms ? pl_nats_client_now_ns() / 1000000 + wanted->timeout_ms : UINT64_MAX;
    while (!wanted->count || l->seen < wanted->count) {
        uint64_t now_ms = pl_nats_client_now_ns() / 1000000;
        if (l->is_broken)
            return pl_cli_fail("sub", "cannot write to the standard output");
        if (now_ms >= end_ms && !wanted->count)
            return PL_EXIT_OK;
        if (now_ms >= end_ms)
            return pl_cli_fail("sub", "%llu of %llu messages came in time",
                (unsigned long long)l->seen, (unsigned long long)wanted->count);
        uint64_t wait_ms = end_ms - now_ms;
        if (parley_client_process(client, wait_ms > INT32_MAX ? -1 : (int)wait_ms)) {
            char why[300];
            parley_client_error(client, why, sizeof why);
            return pl_cli_fail("sub", "%s", why);
        }
    }
    return PL_EXIT_OK;
}

int pl_cli_wamp_sub(
    const struct pl_nats_client_options *server, const struct pl_cli_wamp_sub *wanted)
{
    struct listener l = {.wanted = wanted};
    struct parley_client *client = pl_cli_wamp_open("sub", server, wanted->realm);
    if (!client)
        return PL_EXIT_FAILED;
    int code = -1;
    for (int i = 0; code < 0 && i < wanted->pattern_count; i++)
        code = subscribe(&l, client, wanted->patterns[i]);
    if (code < 0) {
        (void)fprintf(stderr, "subscribed to ");
        for (int i = 0; i < wanted->pattern_count; i++)
            (void)fprintf(stderr, "%s%s", i ? ", " : "", wanted->patterns[i]);
        (void)fprintf(stderr, "\n");
        code = listen_to(&l, client);
    }
    parley_client_free(client);
    return code;
}

/* ---- pub ---- */

int pl_cli_wamp_pub(const struct pl_nats_client_options *server, const char *realm,
    const char *topic, struct pl_bytes payload, uint64_t count)
{
    struct parley_client *client = pl_cli_wamp_open("pub", server, realm);
    int exit_code = PL_EXIT_OK;
    if (!client)
        return PL_EXIT_FAILED;
    for (uint64_t i = 0; i < count && !exit_code; i++) {
        struct parley_args *args = parley_args_new();
        struct parley_message *answer = NULL;
        if (payload.len)
            pl_cli_put_payload(args, payload);
        enum parley_code code =
            parley_publish_wait(client, topic, args, NULL, PL_CLI_ANSWER_MS, &answer);
        if (code)
            exit_code = pl_cli_wamp_fail("pub", code, answer);
        parley_message_free(answer);
    }
    parley_client_free(client);
    return exit_code;
}
