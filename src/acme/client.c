/*
 * Requests that the authority takes: signed by the account's key, each with a nonce of its own
 * (RFC 8555, sections 6.2 to 6.5 and 7.1 to 7.3).
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "acme/state.h"
#include "base/alloc.h"

/* A nonce may be refused for no fault of ours; pebble does it on purpose. */
enum { NONCE_TRIES = 12 };

static void tell(struct pl_acme *acme, const struct pl_acme_event *event)
{
    acme->options.told(acme->options.context, event);
}

static bool is_fine(const struct pl_acme_answer *answer)
{
    return answer->status >= 200 && answer->status < 300;
}

/* An answer that is an error. */
static enum pl_err refused(struct pl_acme_attempt *a, const char *what)
{
    unsigned status = a->answer.status;
    pl_acme_read_problem(a->answer.body, &a->problem);
    if (a->answer.retry_after_ms > a->retry_after_ms)
        a->retry_after_ms = a->answer.retry_after_ms;
    pl_diag_set(a->diag, (int)status, "%s: status %u%s%s%s%s", what, status,
        a->problem.type[0] ? " " : "", a->problem.type, a->problem.detail[0] ? ": " : "",
        a->problem.detail);
    if (status == 429 || strcmp(a->problem.type, "rateLimited") == 0)
        return PL_LIMIT;
    return status >= 400 && status < 500 ? PL_DENIED : PL_IO;
}

static enum pl_err get(struct pl_acme_attempt *a, const char *what, const char *url)
{
    enum pl_err err =
        pl_acme_https_ask(a->acme->https, url, NULL, NULL, a->until_ms, &a->answer, a->diag);
    if (!err && !is_fine(&a->answer))
        err = refused(a, what);
    return err;
}

enum pl_err pl_acme_find_directory(struct pl_acme_attempt *a)
{
    enum pl_err err = get(a, "directory", a->acme->options.directory);
    return err ? err : pl_acme_read_directory(a->answer.body, &a->arena, &a->directory, a->diag);
}

static enum pl_err need_nonce(struct pl_acme_attempt *a)
{
    struct pl_acme *acme = a->acme;
    if (acme->nonce[0])
        return PL_OK;
    enum pl_err err = get(a, "nonce", a->directory.new_nonce);
    if (!err && !a->answer.nonce[0]) {
        pl_diag_set(a->diag, 0, "the authority gives no nonce");
        err = PL_MALFORMED;
    }
    if (!err)
        memcpy(acme->nonce, a->answer.nonce, sizeof acme->nonce);
    return err;
}

/* One try. PL_OK: there is an answer of any status. */
static enum pl_err post_once(struct pl_acme_attempt *a, const char *url, const char *account,
    struct pl_bytes payload, const char *accept)
{
    struct pl_acme *acme = a->acme;
    char *body = NULL;
    enum pl_err err = need_nonce(a);
    if (err)
        return err;
    const struct pl_acme_request request = {
        .url = url, .nonce = acme->nonce, .account = account, .payload = payload};
    err = pl_acme_key_sign(acme->key, &request, &body);
    acme->nonce[0] = 0; /* each is for one request */
    if (!err)
        err = pl_acme_https_ask(acme->https, url, body, accept, a->until_ms, &a->answer, a->diag);
    if (!err)
        memcpy(acme->nonce, a->answer.nonce, sizeof acme->nonce);
    pl_free(body);
    return err;
}

static enum pl_err post_as(struct pl_acme_attempt *a, const char *what, const char *url,
    const char *account, struct pl_bytes payload, const char *accept)
{
    enum pl_err err = PL_OK;
    for (int i = 0; i < NONCE_TRIES; i++) {
        err = post_once(a, url, account, payload, accept);
        if (err || is_fine(&a->answer))
            return err;
        err = refused(a, what);
        if (strcmp(a->problem.type, "badNonce") != 0)
            return err;
    }
    return err;
}

enum pl_err pl_acme_post(struct pl_acme_attempt *a, const char *what, const char *url,
    struct pl_bytes payload, const char *accept)
{
    return post_as(a, what, url, a->acme->account, payload, accept);
}

/* ---- The account ---- */

/* From the cache, or a new one, which is kept there. */
static enum pl_err need_key(struct pl_acme_attempt *a)
{
    struct pl_acme *acme = a->acme;
    const struct pl_acme_options *options = &acme->options;
    char name[PL_ACME_CACHE_NAME_MAX], *text = NULL;
    uint8_t *der = NULL;
    size_t len = 0;
    struct pl_diag diag = {{0}, 0};
    if (acme->key)
        return PL_OK;
    pl_acme_cache_name(
        "cached_account_", options->contacts, options->contact_count, options->directory, name);
    enum pl_err err = pl_acme_cache_read(options->folder, name, &text, &len, &diag);
    if (!err) {
        err = pl_acme_key_import(pl_bytes_of(text, len), &acme->key);
        pl_free(text);
        if (!err || err == PL_NO_MEMORY)
            return err;
        pl_diag_set(&diag, 0, "%s is no key of an account; a new one takes its place", name);
    }
    if (err != PL_NOT_FOUND)
        tell(acme, &(struct pl_acme_event){.kind = PL_ACME_CACHE_FAILED, .why = diag.text});
    err = pl_acme_key_new(&acme->key);
    if (!err)
        err = pl_acme_key_export(acme->key, &der, &len);
    if (!err && pl_acme_cache_write(options->folder, name, pl_bytes_of(der, len), &diag) != PL_OK)
        tell(acme, &(struct pl_acme_event){.kind = PL_ACME_CACHE_FAILED, .why = diag.text});
    if (der)
        memset(der, 0, len);
    pl_free(der);
    return err;
}

/* Tells the authority which account of its own this one belongs to. */
static int add_binding(const struct pl_acme_attempt *a, json_t *root)
{
    const struct pl_acme_options *options = &a->acme->options;
    char *text = NULL;
    if (!options->binding_id)
        return 0;
    if (pl_acme_key_bind(a->acme->key, a->directory.new_account, options->binding_id,
            options->binding_secret, &text) != PL_OK)
        return -1;
    json_t *binding = json_loads(text, 0, NULL);
    pl_free(text);
    return json_object_set_new(root, "externalAccountBinding", binding);
}

static enum pl_err make_payload(const struct pl_acme_attempt *a, char **out)
{
    const struct pl_acme_options *options = &a->acme->options;
    json_t *contacts = json_array();
    int failed = contacts ? 0 : -1;
    for (size_t i = 0; i < options->contact_count && !failed; i++)
        failed = json_array_append_new(contacts, json_string(options->contacts[i]));
    json_t *root = failed ? NULL : json_object();
    if (root)
        failed = json_object_set_new(root, "termsOfServiceAgreed", json_true());
    if (root && !failed && options->contact_count)
        failed = json_object_set(root, "contact", contacts);
    if (root && !failed)
        failed = add_binding(a, root);
    *out = root && !failed ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    json_decref(contacts);
    return *out ? PL_OK : PL_NO_MEMORY;
}

enum pl_err pl_acme_need_account(struct pl_acme_attempt *a)
{
    struct pl_acme *acme = a->acme;
    char *payload = NULL;
    if (acme->account)
        return PL_OK;
    enum pl_err err = need_key(a);
    if (!err)
        err = make_payload(a, &payload);
    if (!err)
        /* One that is there already is told again (RFC 8555, section 7.3.1). */
        err = post_as(a, "account", a->directory.new_account, NULL, pl_bytes_text(payload), NULL);
    free(payload); /* jansson's own */
    if (err)
        return err;
    if (!a->answer.location[0]) {
        pl_diag_set(a->diag, 0, "account: the authority tells no address of it");
        return PL_MALFORMED;
    }
    acme->account = pl_alloc_copy(a->answer.location, strlen(a->answer.location));
    if (!acme->account)
        return PL_NO_MEMORY;
    tell(acme, &(struct pl_acme_event){.kind = PL_ACME_ACCOUNT, .terms = a->directory.terms});
    return PL_OK;
}
