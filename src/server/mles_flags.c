#include "server/mles_flags.h"

#include <stdio.h>

#include "codec/value.h"

static void put_text(struct pl_value_writer *v, const char *key, const char *text)
{
    if (!text)
        return;
    pl_put_key(v, key);
    pl_put_text(v, text);
}

static void put_number(struct pl_value_writer *v, const char *key, uint64_t number)
{
    pl_put_key(v, key);
    pl_put_natural(v, number);
}

static void put_yes(struct pl_value_writer *v, const char *key)
{
    pl_put_key(v, key);
    pl_put_bool(v, true);
}

static void put_list(struct pl_value_writer *v, const char *key, const struct pl_flag_list *list)
{
    pl_put_key(v, key);
    pl_put_list(v);
    for (uint32_t i = 0; i < list->count; i++)
        pl_put_text(v, list->items[i]);
    pl_put_end(v);
}

static void begin_section(struct pl_value_writer *v, const char *key)
{
    pl_put_key(v, key);
    pl_put_dict(v);
}

/* Everywhere, and for everyone, as the original: given explicitly. */
static void begin_listener(
    struct pl_value_writer *v, const struct pl_mles_flags *flags, const char *name, uint64_t port)
{
    pl_put_dict(v);
    put_text(v, "name", name);
    pl_put_key(v, "address");
    pl_put_list(v);
    if (flags->has_ipv6)
        pl_put_text(v, "::");
    pl_put_text(v, "0.0.0.0");
    pl_put_end(v);
    put_number(v, "port", port);
}

static void put_listeners(struct pl_value_writer *v, const struct pl_mles_flags *flags)
{
    pl_put_key(v, "listeners");
    pl_put_list(v);
    begin_listener(v, flags, "mles", flags->port);
    put_text(v, "protocols", "mles");
    put_yes(v, "websocket");
    put_yes(v, "web");
    put_text(v, "tls", "on");
    put_yes(v, "anonymous");
    pl_put_end(v);
    if (flags->redirect) {
        begin_listener(v, flags, "redirect", flags->redirect_port);
        pl_put_key(v, "protocols");
        pl_put_list(v);
        pl_put_end(v);
        put_yes(v, "redirect");
        pl_put_end(v);
    }
    pl_put_end(v);
}

static void put_web(struct pl_value_writer *v, const struct pl_mles_flags *flags)
{
    char size[32];
    begin_section(v, "web");
    put_text(v, "root", flags->wwwroot);
    put_list(v, "domains", &flags->domains);
    put_number(v, "filelimit", flags->filelimit);
    snprintf(size, sizeof size, "%lluM", (unsigned long long)flags->compression_cache_mb);
    put_text(v, "compression_cache", flags->compression_cache_mb ? size : "0");
    put_number(v, "rate_limit", flags->rate_limit);
    begin_section(v, "proxies");
    for (uint32_t i = 0; i < flags->proxies.count; i++) {
        const char *text = flags->proxies.items[i], *equals = strchr(text, '=');
        pl_put_key_bytes(v, pl_bytes_of(text, (size_t)(equals - text)));
        pl_put_text(v, equals + 1);
    }
    pl_put_end(v);
    pl_put_end(v);
}

static void put_certificates(struct pl_value_writer *v, const struct pl_mles_flags *flags)
{
    if (flags->certificate) {
        begin_section(v, "tls");
        put_text(v, "certificate", flags->certificate);
        put_text(v, "key", flags->key);
        pl_put_end(v);
        return;
    }
    begin_section(v, "acme");
    put_list(v, "domains", &flags->domains);
    put_list(v, "email", &flags->email);
    put_text(v, "cache", flags->cache);
    put_text(v, "directory", flags->directory);
    put_text(v, "ca", flags->ca);
    if (flags->staging)
        put_yes(v, "staging");
    pl_put_end(v);
}

enum pl_err pl_mles_flags_translate(const struct pl_mles_flags *flags, struct pl_shared **out)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_JSON);
    pl_put_dict(&v);
    put_listeners(&v, flags);
    put_web(&v, flags);
    put_certificates(&v, flags);
    begin_section(&v, "mles");
    put_number(&v, "limit", flags->limit);
    put_list(&v, "peers", &flags->peers);
    pl_put_end(&v);
    pl_put_end(&v);
    pl_write_u8(&w, 0);
    return pl_writer_take(&w, out);
}
