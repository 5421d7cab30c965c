/*
 * One order (RFC 8555, section 7.4):
 *
 *     newOrder ─► an authorization per name ─► finalize, with the CSR ─► certificate
 *                     │
 *                     └─ not valid yet: its challenge is put up, all of them; the authority is told
 *                        that they are; then each is asked for until it is valid or not
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "acme/state.h"
#include "acme/x509.h"
#include "base/alloc.h"
#include "base/text.h"
#include "net/reactor.h"
#include "net/tls_store.h"

enum { POLL_FIRST_MS = 250, POLL_MAX_MS = 8000 };

static const char tls_alpn[] = "tls-alpn-01", http[] = "http-01";

/* One name that must be proven. */
struct proof {
    const char *authorization, *challenge; /* addresses */
    const char *domain;
    struct pl_tls_certificate *certificate; /* TLS-ALPN-01; one reference */
};

struct ordering {
    struct pl_acme_attempt *attempt;
    const char *url; /* of the order */
    struct pl_acme_order order;
    struct proof proofs[PL_ACME_AUTHORIZATIONS_MAX];
    size_t proof_count;
    struct pl_acme_csr csr;
};

static const char *challenge_type(const struct pl_acme *acme)
{
    return acme->options.uses_http ? http : tls_alpn;
}

static enum pl_err fail(
    struct pl_acme_attempt *a, const char *what, const struct pl_acme_problem *problem)
{
    pl_diag_set(a->diag, 0, "%s: %s%s%s", what, problem->type[0] ? problem->type : "invalid",
        problem->detail[0] ? ": " : "", problem->detail);
    return PL_DENIED;
}

/* Before the next look; *wait_ms grows. The authority may say how long it is. */
static enum pl_err pause_before_look(struct pl_acme_attempt *a, uint64_t *wait_ms)
{
    uint64_t now_ms = pl_clock_ms();
    uint64_t ms = a->answer.retry_after_ms ? a->answer.retry_after_ms : *wait_ms;
    if (now_ms >= a->until_ms || ms > a->until_ms - now_ms) {
        pl_diag_set(a->diag, 0, "the authority takes too long");
        return PL_TIMEOUT;
    }
    *wait_ms = *wait_ms < POLL_MAX_MS ? *wait_ms * 2 : POLL_MAX_MS;
    return pl_acme_wait(a->acme, ms);
}

/* ---- newOrder ---- */

static enum pl_err make_payload(const struct pl_acme_names *names, char **out)
{
    json_t *list = json_array();
    int failed = list ? 0 : -1;
    for (size_t i = 0; i < names->count && !failed; i++)
        failed = json_array_append_new(
            list, json_pack("{s:s, s:s}", "type", "dns", "value", names->domains[i]));
    json_t *root = failed ? NULL : json_pack("{s:O}", "identifiers", list);
    *out = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    json_decref(list);
    return *out ? PL_OK : PL_NO_MEMORY;
}

static enum pl_err post_order(struct pl_acme_attempt *a, const char *payload)
{
    enum pl_err err = pl_acme_need_account(a);
    return err ? err
               : pl_acme_post(a, "order", a->directory.new_order, pl_bytes_text(payload), NULL);
}

static enum pl_err begin(struct ordering *o)
{
    struct pl_acme_attempt *a = o->attempt;
    char *payload = NULL;
    enum pl_err err = make_payload(&a->group->names, &payload);
    if (!err)
        err = post_order(a, payload);
    if (err && a->acme->account && strcmp(a->problem.type, "accountDoesNotExist") == 0) {
        /* It was there before, but the authority has lost or ended it. */
        pl_free(a->acme->account);
        a->acme->account = NULL;
        err = post_order(a, payload);
    }
    free(payload); /* jansson's own */
    if (!err && !a->answer.location[0]) {
        pl_diag_set(a->diag, 0, "order: the authority tells no address of it");
        err = PL_MALFORMED;
    }
    if (!err && !(o->url = pl_arena_copy(&a->arena, pl_bytes_text(a->answer.location))))
        err = PL_NO_MEMORY;
    return err ? err : pl_acme_read_order(a->answer.body, &a->arena, &o->order, a->diag);
}

/* ---- Authorizations ---- */

static enum pl_err look_at_authorization(
    struct pl_acme_attempt *a, const char *url, struct pl_acme_authorization *out)
{
    enum pl_err err = pl_acme_post(a, "authorization", url, PL_NO_BYTES, NULL);
    if (!err)
        err = pl_acme_read_authorization(
            a->answer.body, challenge_type(a->acme), &a->arena, out, a->diag);
    if (!err && out->status == PL_ACME_INVALID)
        err = fail(a, out->domain, &out->problem);
    return err;
}

static bool is_wanted(const struct pl_acme_names *names, const char *domain)
{
    for (size_t i = 0; i < names->count; i++) {
        if (pl_bytes_equal_nocase(pl_bytes_text(names->domains[i]), pl_bytes_text(domain)))
            return true;
    }
    return false;
}

/* What the authority will look at. */
static enum pl_err prepare(struct pl_acme_attempt *a, struct proof *proof, const char *token)
{
    char text[PL_ACME_TOKEN_MAX + PL_ACME_THUMBPRINT_LEN + 2];
    snprintf(text, sizeof text, "%s.%s", token, pl_acme_key_thumbprint(a->acme->key));
    if (a->acme->options.uses_http)
        return pl_acme_tokens_add(a->acme->options.tokens, text);
    return pl_acme_challenge_make(proof->domain, text, &proof->certificate);
}

/* Fills the proofs with those that are missing. */
static enum pl_err collect_proofs(struct ordering *o)
{
    struct pl_acme_attempt *a = o->attempt;
    for (size_t i = 0; i < o->order.authorization_count; i++) {
        struct pl_acme_authorization authorization;
        const char *url = o->order.authorizations[i];
        enum pl_err err = look_at_authorization(a, url, &authorization);
        if (err)
            return err;
        if (authorization.status == PL_ACME_VALID)
            continue;
        if (!is_wanted(&a->group->names, authorization.domain)) {
            pl_diag_set(a->diag, 0, "the authority asks for %s, which was not ordered",
                authorization.domain);
            return PL_MALFORMED;
        }
        if (!authorization.url) {
            pl_diag_set(a->diag, 0, "%s: the authority offers no %s", authorization.domain,
                challenge_type(a->acme));
            return PL_UNSUPPORTED;
        }
        struct proof *proof = &o->proofs[o->proof_count++];
        *proof = (struct proof){
            .authorization = url, .challenge = authorization.url, .domain = authorization.domain};
        err = prepare(a, proof, authorization.token);
        if (err)
            return err;
    }
    return PL_OK;
}

static enum pl_err put_up(struct ordering *o)
{
    struct pl_tls_certificate *shown[PL_ACME_AUTHORIZATIONS_MAX];
    if (o->attempt->acme->options.uses_http || !o->proof_count)
        return PL_OK;
    for (size_t i = 0; i < o->proof_count; i++)
        shown[i] = o->proofs[i].certificate;
    return pl_tls_store_set(
        o->attempt->acme->options.store, PL_TLS_CHALLENGE, shown, o->proof_count);
}

static void take_down(struct ordering *o)
{
    const struct pl_acme_options *options = &o->attempt->acme->options;
    if (options->uses_http)
        pl_acme_tokens_clear(options->tokens);
    else
        /* Without memory they stay for now: who has seen them knows nothing. */
        (void)!pl_tls_store_set(options->store, PL_TLS_CHALLENGE, NULL, 0);
    for (size_t i = 0; i < o->proof_count; i++)
        pl_tls_certificate_unref(o->proofs[i].certificate);
}

static enum pl_err wait_for_proof(struct pl_acme_attempt *a, const struct proof *proof)
{
    struct pl_acme_authorization authorization;
    uint64_t wait_ms = POLL_FIRST_MS;
    for (;;) {
        enum pl_err err = look_at_authorization(a, proof->authorization, &authorization);
        if (err || authorization.status == PL_ACME_VALID)
            return err;
        err = pause_before_look(a, &wait_ms);
        if (err)
            return err;
    }
}

static enum pl_err prove(struct ordering *o)
{
    struct pl_acme_attempt *a = o->attempt;
    enum pl_err err = collect_proofs(o);
    if (!err)
        err = put_up(o);
    for (size_t i = 0; i < o->proof_count && !err; i++)
        err = pl_acme_post(a, "challenge", o->proofs[i].challenge, PL_BYTES("{}"), NULL);
    for (size_t i = 0; i < o->proof_count && !err; i++)
        err = wait_for_proof(a, &o->proofs[i]);
    return err;
}

/* ---- The certificate ---- */

/* Until it is `wanted`, or valid. */
static enum pl_err wait_for_order(struct ordering *o, enum pl_acme_status wanted)
{
    struct pl_acme_attempt *a = o->attempt;
    uint64_t wait_ms = POLL_FIRST_MS;
    for (;;) {
        enum pl_err err = pl_acme_post(a, "order", o->url, PL_NO_BYTES, NULL);
        if (!err)
            err = pl_acme_read_order(a->answer.body, &a->arena, &o->order, a->diag);
        if (!err && o->order.status == PL_ACME_INVALID)
            err = fail(a, "order", &o->order.problem);
        if (err || o->order.status == wanted || o->order.status == PL_ACME_VALID)
            return err;
        err = pause_before_look(a, &wait_ms);
        if (err)
            return err;
    }
}

static enum pl_err finalize(struct ordering *o)
{
    struct pl_acme_attempt *a = o->attempt;
    const struct pl_acme_names *names = &a->group->names;
    enum pl_err err = pl_acme_csr_make(names->domains, names->count, &o->csr);
    if (err)
        return err;
    static const char head[] = "{\"csr\":\"", tail[] = "\"}";
    size_t cap = 4 * ((o->csr.len + 2) / 3) + sizeof head + sizeof tail;
    char *payload = pl_alloc(cap);
    if (!payload)
        return PL_NO_MEMORY;
    memcpy(payload, head, sizeof head - 1);
    size_t len = sizeof head - 1;
    len += pl_base64_encode(pl_bytes_of(o->csr.der, o->csr.len), true, payload + len);
    memcpy(payload + len, tail, sizeof tail - 1);
    len += sizeof tail - 1;
    err = pl_acme_post(a, "finalize", o->order.finalize, pl_bytes_of(payload, len), NULL);
    pl_free(payload);
    return err;
}

/* The key, then the chain as it came. */
static char *join(const char *key, struct pl_bytes chain)
{
    size_t key_len = strlen(key);
    char *pem = pl_alloc(key_len + chain.len + 1);
    if (pem) {
        memcpy(pem, key, key_len);
        memcpy(pem + key_len, chain.data, chain.len);
        pem[key_len + chain.len] = 0;
    }
    return pem;
}

static enum pl_err download(struct ordering *o, struct pl_tls_certificate **out, char **out_pem)
{
    struct pl_acme_attempt *a = o->attempt;
    const struct pl_acme_names *names = &a->group->names;
    struct pl_tls_certificate *certificate = NULL;
    enum pl_err err = pl_acme_post(
        a, "certificate", o->order.certificate, PL_NO_BYTES, "application/pem-certificate-chain");
    if (!err)
        err = pl_tls_certificate_parse(
            a->answer.body, pl_bytes_text(o->csr.key), &certificate, a->diag);
    if (!err)
        err = pl_acme_certificate_check(
            certificate, names->domains, names->count, pl_clock_unix_ms(), a->diag);
    if (!err && memchr(a->answer.body.data, 0, a->answer.body.len)) {
        pl_diag_set(a->diag, 0, "certificate: it is no text");
        err = PL_MALFORMED;
    }
    if (!err && !(*out_pem = join(o->csr.key, a->answer.body)))
        err = PL_NO_MEMORY;
    if (err)
        pl_tls_certificate_unref(certificate);
    else
        *out = certificate;
    return err;
}

enum pl_err pl_acme_order(
    struct pl_acme_attempt *attempt, struct pl_tls_certificate **out, char **out_pem)
{
    struct ordering *o = pl_zalloc(sizeof *o);
    if (!o)
        return PL_NO_MEMORY;
    o->attempt = attempt;
    enum pl_err err = pl_acme_find_directory(attempt);
    if (!err)
        err = begin(o);
    if (!err)
        err = prove(o);
    if (!err)
        err = wait_for_order(o, PL_ACME_READY);
    if (!err)
        err = finalize(o);
    if (!err)
        err = wait_for_order(o, PL_ACME_VALID);
    if (!err)
        err = download(o, out, out_pem);
    take_down(o);
    pl_acme_csr_done(&o->csr);
    pl_free(o);
    return err;
}
