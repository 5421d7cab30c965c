#include "cli/wamp_client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/output.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "codec/value.h"

static const char *url_of(const struct pl_nats_client_options *server)
{
    const char *variable = getenv("PARLEY_URL");
    return server->server ? server->server : variable && *variable ? variable : NULL;
}

static bool has_scheme(const char *url, const char *scheme)
{
    return url && strncmp(url, scheme, strlen(scheme)) == 0;
}

bool pl_cli_is_wamp(const struct pl_nats_client_options *server, const char *realm)
{
    static const char *const schemes[] = {"ws://", "wss://", "rs://", "rss://"};
    const char *url = url_of(server);
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (has_scheme(url, schemes[i]))
            return true;
    return realm && has_scheme(url, "unix:");
}

static const char *or_variable(const char *option, const char *name)
{
    const char *variable = option ? NULL : getenv(name);
    return option ? option : variable && *variable ? variable : NULL;
}

struct parley_client *pl_cli_wamp_open(
    const char *command, const struct pl_nats_client_options *server, const char *realm)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_client *client;
    char why[300];
    const char *url = url_of(server);
    options.url = url ? url : "ws://127.0.0.1:8080/";
    options.realm = realm;
    options.authid = server->user;
    options.password = or_variable(server->password, "PARLEY_PASSWORD");
    options.ticket = or_variable(server->token, "PARLEY_TOKEN");
    options.ca_file = server->ca_file;
    options.tls_insecure = server->insecure;
    options.agent = "parley";
    enum parley_code code = parley_client_new(&options, &client);
    if (code) {
        pl_cli_fail(command, "%s: %s", options.url, parley_code_text(code));
        return NULL;
    }
    if (parley_client_join(client, PL_CLI_ANSWER_MS)) {
        parley_client_error(client, why, sizeof why);
        pl_cli_fail(command, "%s: %s", options.url, why);
        parley_client_free(client);
        return NULL;
    }
    return client;
}

/* All of it is one JSON value. */
static bool is_json(struct pl_bytes text, struct pl_value *out)
{
    size_t used;
    if (pl_value_read(PL_SERIAL_JSON, text, out, &used))
        return false;
    while (used < text.len && strchr(" \t\r\n", text.data[used]))
        used++;
    return used == text.len;
}

void pl_cli_put_value(struct parley_args *args, const char *text)
{
    struct pl_value value;
    if (is_json(pl_bytes_text(text), &value))
        parley_args_json_value(args, text);
    else
        parley_args_string(args, text);
}

void pl_cli_put_payload(struct parley_args *args, struct pl_bytes payload)
{
    struct pl_value value;
    bool is_tree =
        is_json(payload, &value) && (value.kind == PL_VALUE_LIST || value.kind == PL_VALUE_DICT);
    char *text = is_tree ? pl_alloc_copy(payload.data, payload.len) : NULL;
    if (text)
        parley_args_json_value(args, text);
    else if (pl_utf8_is_valid(payload))
        parley_args_text(args, (const char *)payload.data, payload.len);
    else
        parley_args_binary(args, payload.data, payload.len);
    pl_free(text);
}

static void write_json(struct pl_writer *w, const struct parley_value *value, const char *otherwise)
{
    char *json = value ? parley_value_json(value) : NULL;
    if (value && !json)
        w->err = PL_NO_MEMORY;
    pl_write_text(w, json ? json : otherwise);
    parley_free(json);
}

char *pl_cli_plain(const struct parley_message *message, size_t *out_len)
{
    const struct parley_value *args = parley_message_args(message);
    const struct parley_value *kwargs = parley_message_kwargs(message);
    struct pl_writer w = pl_writer_new();
    struct pl_shared *text;
    size_t count = parley_value_count(args), len = 0;
    const void *bytes = count == 1 ? parley_value_bytes(parley_value_at(args, 0), &len) : NULL;
    if (parley_value_count(kwargs) || count > 1) {
        pl_write_text(&w, "{\"args\":");
        write_json(&w, args, "[]");
        pl_write_text(&w, ",\"kwargs\":");
        write_json(&w, kwargs, "{}");
        pl_write_u8(&w, '}');
    } else if (bytes) {
        pl_write_bytes(&w, pl_bytes_of(bytes, len));
    } else if (count) {
        write_json(&w, parley_value_at(args, 0), "null");
    }
    if (pl_writer_take(&w, &text))
        return NULL;
    char *copy = pl_alloc_copy(text->data, text->len);
    *out_len = text->len;
    pl_shared_unref(text);
    return copy;
}

int pl_cli_wamp_fail(
    const char *command, enum parley_code code, const struct parley_message *message)
{
    const char *uri = message ? parley_message_error(message) : NULL;
    const char *text = message ? parley_message_text(message) : NULL;
    if (uri && text && strcmp(uri, text) != 0)
        return pl_cli_fail(command, "%s: %s", uri, text);
    return pl_cli_fail(command, "%s", uri ? uri : text ? text : parley_code_text(code));
}
