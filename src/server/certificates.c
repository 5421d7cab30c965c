/*
 * What listeners show as their certificate: files, the self-signed one of the first start, and what
 * an authority issues.
 */
#include <stdlib.h>

#include "acme/acme.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "codec/http.h"
#include "net/tls_store.h"
#include "net/upgrade.h"
#include "server/state.h"

static void unref_all(struct pl_tls_certificate **list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        pl_tls_certificate_unref(list[i]);
    pl_free(list);
}

/* tls.certificate, where there is one, then tls.certificates. Whoever gets them gives them to
 * unref_all, also after an error. */
static enum pl_err read_files(const struct pl_config *config, struct pl_tls_certificate ***out,
    uint32_t *out_count, struct pl_diag *diag)
{
    const struct pl_config_tls_files *files = &config->tls;
    uint32_t count = 0;
    struct pl_tls_certificate **list =
        pl_zalloc((files->certificates.count + 1) * sizeof(struct pl_tls_certificate *));
    enum pl_err err = list ? PL_OK : PL_NO_MEMORY;
    if (!err && files->certificate[0])
        err = pl_tls_certificate_read(files->certificate, files->key, &list[count], diag);
    count += !err && files->certificate[0] ? 1 : 0;
    for (uint32_t i = 0; i < files->certificates.count && !err; i++) {
        const struct pl_config_tls_pair *pair = &files->certificates.items[i];
        err = pl_tls_certificate_read(pair->certificate, pair->key, &list[count], diag);
        count += err ? 0 : 1;
    }
    *out = list;
    *out_count = count;
    return err;
}

enum pl_err pl_certificates_check(const struct pl_config *config, struct pl_diag *diag)
{
    struct pl_tls_certificate **list;
    uint32_t count;
    enum pl_err err = read_files(config, &list, &count, diag);
    unref_all(list, count);
    for (uint32_t i = 0; i < config->listeners.count && !err; i++) {
        const struct pl_config_listener *l = &config->listeners.items[i];
        struct pl_tls_certificate *own = NULL;
        if (l->certificate[0])
            err = pl_tls_certificate_read(l->certificate, l->key, &own, diag);
        pl_tls_certificate_unref(own);
    }
    return err;
}

static enum pl_err load_self_signed(struct pl_server *server, struct pl_diag *diag)
{
    char cert[4200], key[4200];
    struct pl_tls_certificate *made = NULL;
    snprintf(cert, sizeof cert, "%s/tls/cert.pem", server->data);
    snprintf(key, sizeof key, "%s/tls/key.pem", server->data);
    enum pl_err err = pl_tls_make_self_signed(cert, key, diag);
    if (!err)
        err = pl_tls_certificate_read(cert, key, &made, diag);
    if (!err)
        err = pl_tls_store_set(server->certificates, PL_TLS_FALLBACK, &made, 1);
    pl_tls_certificate_unref(made);
    return err;
}

/* False: nobody could be shown one. So it is in a program that listens nowhere. */
static bool has_tls(const struct pl_server *server)
{
    for (uint32_t i = 0; i < server->port_count; i++) {
        if (server->ports[i].tls)
            return true;
    }
    return false;
}

enum pl_err pl_certificates_load(
    struct pl_server *server, const struct pl_config *config, struct pl_diag *diag)
{
    struct pl_tls_certificate **list;
    uint32_t count;
    if (!has_tls(server))
        return PL_OK;
    enum pl_err err = read_files(config, &list, &count, diag);
    if (!err && !config->tls.certificate[0])
        err = load_self_signed(server, diag);
    if (!err)
        err = pl_tls_store_set(server->certificates, PL_TLS_CONFIGURED, list, count);
    unref_all(list, count);
    return err;
}

/* ---- From an authority ---- */

enum { BINDING_MAX = 4096 };

static const char staging[] = "https://acme-staging-v02.api.letsencrypt.org/directory";

/* What an authority's client is made from: texts of the configuration, arrays of the arena. */
struct wish {
    struct pl_arena arena;
    struct pl_acme_options options;
};

/* On the client's thread, or while it is made. */
static void on_event(void *context, const struct pl_acme_event *event)
{
    unsigned long long expires = event->expires_unix_ms / 1000;
    const char *name = event->name ? event->name : "account";
    (void)context;
    switch (event->kind) {
    case PL_ACME_ACCOUNT:
        pl_log(
            PL_LOG_INFO, "acme_account", "agreed_to=%s", event->terms ? event->terms : "nothing");
        break;
    case PL_ACME_LOADED:
        pl_log(PL_LOG_INFO, "certificate_loaded", "name=%s expires=%llu", name, expires);
        break;
    case PL_ACME_ISSUED:
        pl_log(PL_LOG_INFO, "certificate_issued", "name=%s expires=%llu", name, expires);
        break;
    case PL_ACME_FAILED:
        pl_log(PL_LOG_WARN, "certificate_order_failed",
            "name=%s failures=%u retry_in=%llus why=\"%s\"", name, event->failures,
            (unsigned long long)(event->retry_ms + 999) / 1000, event->why);
        break;
    case PL_ACME_CACHE_FAILED:
        pl_log(PL_LOG_WARN, "certificate_cache_failed", "name=%s why=\"%s\"", name, event->why);
        break;
    }
}

static const char *print(struct pl_arena *arena, const char *before, const char *text)
{
    size_t cap = strlen(before) + strlen(text) + 1;
    char *out = pl_arena_alloc(arena, cap);
    if (out)
        snprintf(out, cap, "%s%s", before, text);
    return out;
}

static enum pl_err fill_names(struct wish *wish, const struct pl_config_acme *acme)
{
    size_t count = 0;
    struct pl_acme_names *names =
        pl_arena_alloc(&wish->arena, (acme->certificates.count + 1) * sizeof *names);
    if (!names)
        return PL_NO_MEMORY;
    if (acme->domains.count)
        names[count++] = (struct pl_acme_names){acme->domains.items, acme->domains.count};
    for (uint32_t i = 0; i < acme->certificates.count; i++) {
        const struct pl_text_list *domains = &acme->certificates.items[i].domains;
        names[count++] = (struct pl_acme_names){domains->items, domains->count};
    }
    wish->options.certificates = names;
    wish->options.certificate_count = count;
    return PL_OK;
}

/* The secret of an account elsewhere, decoded. */
static enum pl_err read_binding(
    struct wish *wish, const struct pl_config_acme *acme, struct pl_diag *diag)
{
    char *text = NULL;
    size_t len = 0;
    if (!acme->binding_id[0])
        return PL_OK;
    enum pl_err err = pl_file_read(acme->binding_key, BINDING_MAX, diag, &text, &len, NULL);
    if (err)
        return err;
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    uint8_t *secret = pl_arena_alloc(&wish->arena, len + 3);
    size_t secret_len = 0;
    if (!secret) {
        err = PL_NO_MEMORY;
    } else if (pl_base64_decode(pl_bytes_of(text, len), true, secret, &secret_len) || !secret_len) {
        pl_diag_set(diag, 0, "%s: expected a key in base64url", acme->binding_key);
        err = PL_CONFIG;
    }
    memset(text, 0, len);
    pl_free(text);
    wish->options.binding_id = acme->binding_id;
    wish->options.binding_secret = pl_bytes_of(secret, secret_len);
    return err;
}

static enum pl_err fill_wish(
    const struct pl_server *server, const struct pl_config_acme *acme, struct wish *wish)
{
    struct pl_acme_options *options = &wish->options;
    const char **contacts =
        pl_arena_alloc(&wish->arena, (acme->email.count + 1) * sizeof *contacts);
    if (!contacts)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < acme->email.count; i++) {
        contacts[i] = print(&wish->arena, "mailto:", acme->email.items[i]);
        if (!contacts[i])
            return PL_NO_MEMORY;
    }
    *options = (struct pl_acme_options){
        .contacts = contacts,
        .contact_count = acme->email.count,
        .folder = acme->cache[0] ? acme->cache : print(&wish->arena, server->data, "/acme"),
        .directory = acme->staging ? staging : acme->directory,
        .ca_file = acme->ca[0] ? acme->ca : NULL,
        .user_agent = "Parley/" PARLEY_VERSION,
        .uses_http = acme->challenge == PL_CONFIG_HTTP,
        .renew_before_ms = acme->renew_before_ms,
        .backoff_ms = acme->backoff_ms,
        .backoff_max_ms = acme->backoff_max_ms,
        .request_timeout_ms = acme->request_timeout_ms,
        .order_timeout_ms = acme->order_timeout_ms,
        .answer_max = acme->answer,
        .store = server->certificates,
        .tokens = server->acme_tokens,
        .told = on_event,
    };
    return options->folder ? fill_names(wish, acme) : PL_NO_MEMORY;
}

enum pl_err pl_certificates_open(struct pl_server *server)
{
    server->certificates = pl_tls_store_new();
    server->acme_tokens = pl_acme_tokens_new();
    return server->certificates && server->acme_tokens ? PL_OK : PL_NO_MEMORY;
}

static void print_list(FILE *out, const char *const *texts, size_t count)
{
    fprintf(out, "%zu", count);
    for (size_t i = 0; i < count; i++)
        fprintf(out, " %s", texts[i]);
    fputc('\n', out);
}

/* Equal texts, equal clients. NULL: no memory; free it. */
static char *describe(const struct wish *wish)
{
    const struct pl_acme_options *o = &wish->options;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    for (size_t i = 0; i < o->certificate_count; i++)
        print_list(out, o->certificates[i].domains, o->certificates[i].count);
    print_list(out, o->contacts, o->contact_count);
    fprintf(out, "%s\n", o->binding_id ? o->binding_id : "");
    fprintf(out, "%s\n%s\n%s\n%d %llu %llu %llu %llu %llu %zu\n", o->folder, o->directory,
        o->ca_file ? o->ca_file : "", (int)o->uses_http, (unsigned long long)o->renew_before_ms,
        (unsigned long long)o->backoff_ms, (unsigned long long)o->backoff_max_ms,
        (unsigned long long)o->request_timeout_ms, (unsigned long long)o->order_timeout_ms,
        o->answer_max);
    if (fclose(out) == 0)
        return text;
    free(text); /* open_memstream's own */
    return NULL;
}

/* Whoever reads it holds the lock; the old one ends outside of it. */
static void swap(struct pl_server *server, struct pl_acme *fresh)
{
    pthread_mutex_lock(&server->acme_lock);
    struct pl_acme *before = server->acme;
    server->acme = fresh;
    pthread_mutex_unlock(&server->acme_lock);
    pl_acme_free(before);
}

static enum pl_err begin(struct pl_server *server, const struct wish *wish, struct pl_diag *diag)
{
    struct pl_acme *acme = NULL;
    swap(server, NULL);
    if (!wish->options.certificate_count || !has_tls(server))
        return pl_tls_store_set(server->certificates, PL_TLS_ACME, NULL, 0);
    enum pl_err err = pl_acme_new(&wish->options, &acme);
    if (!err)
        err = pl_acme_start(acme, diag);
    if (err)
        acme = pl_acme_free(acme);
    swap(server, acme);
    return err;
}

enum pl_err pl_certificates_order(
    struct pl_server *server, const struct pl_config *config, struct pl_diag *diag)
{
    struct wish wish = {0};
    enum pl_err err = fill_wish(server, &config->acme, &wish);
    if (!err)
        err = read_binding(&wish, &config->acme, diag);
    char *text = err ? NULL : describe(&wish);
    if (!err && !text)
        err = PL_NO_MEMORY;
    /* One whose options are as they were goes on: also with its wait after a failure. */
    if (!err && (!server->acme_text || strcmp(server->acme_text, text) != 0)) {
        err = begin(server, &wish, diag);
        free(server->acme_text);
        server->acme_text = err ? NULL : text;
        text = err ? text : NULL;
    }
    free(text); /* open_memstream's own */
    pl_arena_done(&wish.arena);
    return err;
}

void pl_certificates_stop(struct pl_server *server)
{
    swap(server, NULL);
}

void pl_certificates_each(struct pl_server *server,
    void (*visit)(void *context, const struct pl_acme_facts *facts), void *context)
{
    pthread_mutex_lock(&server->acme_lock);
    for (size_t i = 0; server->acme && i < pl_acme_count(server->acme); i++) {
        struct pl_acme_facts facts;
        pl_acme_facts(server->acme, i, &facts);
        visit(context, &facts);
    }
    pthread_mutex_unlock(&server->acme_lock);
}

bool pl_certificates_answer(
    struct pl_server *server, struct pl_conn *conn, const struct pl_http_request *request)
{
    char text[PL_ACME_ANSWER_MAX];
    size_t len = pl_acme_tokens_find(server->acme_tokens, request->path, text);
    if (!len)
        return false;
    pl_conn_answer(conn, &(struct pl_http_answer){.status = 200,
                             .type = "application/octet-stream",
                             .body = pl_bytes_of(text, len),
                             .keeps_alive = request->keeps_alive,
                             .is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD"))});
    return true;
}

void pl_certificates_free(struct pl_server *server)
{
    pl_acme_free(server->acme);
    server->acme = NULL;
    free(server->acme_text);
    server->acme_tokens = pl_acme_tokens_free(server->acme_tokens);
    server->certificates = pl_tls_store_free(server->certificates);
}
