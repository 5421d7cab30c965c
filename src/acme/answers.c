#include "acme/answers.h"

#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "codec/json.h"

bool pl_acme_is_url(struct pl_bytes text)
{
    static const struct pl_bytes scheme = {(const uint8_t *)"https://", 8};
    if (!pl_bytes_starts(text, scheme) || text.len > PL_ACME_URL_MAX)
        return false;
    size_t host = 0;
    for (size_t i = scheme.len; i < text.len; i++) {
        uint8_t c = text.data[i];
        /* Neither spaces nor names of users. */
        if (c <= ' ' || c > '~' || c == '@' || c == '\\' || c == '"' || c == '<' || c == '>')
            return false;
        if (host == i - scheme.len && c != '/' && c != '?' && c != '#')
            host++;
    }
    return host > 0;
}

bool pl_acme_is_token(struct pl_bytes text, size_t len_max)
{
    for (size_t i = 0; i < text.len; i++) {
        if (pl_base64_value(text.data[i], true) < 0)
            return false;
    }
    return text.len > 0 && text.len <= len_max;
}

/* ---- Reading JSON ---- */

static enum pl_err on_member(void *context, struct pl_json_member m)
{
    (void)context;
    (void)m;
    return PL_OK;
}

/* One object. NULL: it is none, or too deep. */
static json_t *load(struct pl_bytes body)
{
    json_error_t error;
    /* Its own limit of depth is meant for other stacks than ours. */
    if (pl_json_each_member(body, on_member, NULL))
        return NULL;
    return json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &error);
}

static struct pl_bytes text_of(const json_t *value)
{
    return json_is_string(value) ? pl_bytes_of(json_string_value(value), json_string_length(value))
                                 : PL_NO_BYTES;
}

static struct pl_bytes member_text(const json_t *object, const char *name)
{
    return text_of(json_object_get(object, name));
}

static enum pl_err malformed(struct pl_diag *diag, const char *what, const char *why)
{
    pl_diag_set(diag, 0, "the authority's %s: %s", what, why);
    return PL_MALFORMED;
}

/* A member that is an address. It may miss: *out is NULL then. */
static enum pl_err read_url(const json_t *object, const char *name, struct pl_arena *arena,
    const char **out, struct pl_diag *diag)
{
    const json_t *value = json_object_get(object, name);
    *out = NULL;
    if (!value || json_is_null(value))
        return PL_OK;
    if (!pl_acme_is_url(text_of(value)))
        return malformed(diag, name, "expected an https:// address");
    *out = pl_arena_copy(arena, text_of(value));
    return *out ? PL_OK : PL_NO_MEMORY;
}

static enum pl_err need_url(const json_t *object, const char *name, struct pl_arena *arena,
    const char **out, struct pl_diag *diag)
{
    enum pl_err err = read_url(object, name, arena, out, diag);
    return err || *out ? err : malformed(diag, name, "is not there");
}

static enum pl_err read_status(const json_t *object, enum pl_acme_status *out, struct pl_diag *diag)
{
    static const struct {
        const char *word;
        enum pl_acme_status status;
    } words[] = {
        {"pending", PL_ACME_PENDING},
        {"ready", PL_ACME_READY},
        {"processing", PL_ACME_PROCESSING},
        {"valid", PL_ACME_VALID},
        {"invalid", PL_ACME_INVALID},
        {"deactivated", PL_ACME_INVALID},
        {"expired", PL_ACME_INVALID},
        {"revoked", PL_ACME_INVALID},
    };
    struct pl_bytes text = member_text(object, "status");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (pl_bytes_equal(text, pl_bytes_text(words[i].word))) {
            *out = words[i].status;
            return PL_OK;
        }
    }
    return malformed(diag, "status", "is none that there is");
}

static void copy_text(struct pl_bytes from, char *out, size_t cap)
{
    size_t len = from.len < cap ? from.len : cap - 1;
    /* Not in the middle of a character. */
    while (len < from.len && len > 0 && (from.data[len] & 0xc0) == 0x80)
        len--;
    if (len)
        memcpy(out, from.data, len);
    out[len] = 0;
}

static void read_problem(const json_t *object, struct pl_acme_problem *out)
{
    *out = (struct pl_acme_problem){{0}, {0}};
    if (!json_is_object(object))
        return;
    struct pl_bytes type = member_text(object, "type");
    struct pl_bytes prefix = PL_BYTES("urn:ietf:params:acme:error:");
    if (pl_bytes_starts(type, prefix))
        type = pl_bytes_from(type, prefix.len);
    copy_text(type, out->type, sizeof out->type);
    copy_text(member_text(object, "detail"), out->detail, sizeof out->detail);
}

/* ---- The answers ---- */

enum pl_err pl_acme_read_directory(struct pl_bytes body, struct pl_arena *arena,
    struct pl_acme_directory *out, struct pl_diag *diag)
{
    json_t *root = load(body);
    if (!root)
        return malformed(diag, "directory", "is no JSON object");
    *out = (struct pl_acme_directory){0};
    enum pl_err err = need_url(root, "newNonce", arena, &out->new_nonce, diag);
    if (!err)
        err = need_url(root, "newAccount", arena, &out->new_account, diag);
    if (!err)
        err = need_url(root, "newOrder", arena, &out->new_order, diag);
    const json_t *meta = json_object_get(root, "meta");
    struct pl_bytes terms =
        json_is_object(meta) ? member_text(meta, "termsOfService") : PL_NO_BYTES;
    /* Only shown, so any text that is one will do. */
    if (!err && terms.len && terms.len <= PL_ACME_URL_MAX && !memchr(terms.data, 0, terms.len) &&
        !(out->terms = pl_arena_copy(arena, terms)))
        err = PL_NO_MEMORY;
    json_decref(root);
    return err;
}

static enum pl_err read_authorizations(
    const json_t *root, struct pl_arena *arena, struct pl_acme_order *out, struct pl_diag *diag)
{
    const json_t *list = json_object_get(root, "authorizations");
    size_t count = json_array_size(list);
    if (count == 0 || count > PL_ACME_AUTHORIZATIONS_MAX)
        return malformed(diag, "authorizations", count ? "are too many" : "are not there");
    for (size_t i = 0; i < count; i++) {
        struct pl_bytes url = text_of(json_array_get(list, i));
        if (!pl_acme_is_url(url))
            return malformed(diag, "authorizations", "expected https:// addresses");
        out->authorizations[i] = pl_arena_copy(arena, url);
        if (!out->authorizations[i])
            return PL_NO_MEMORY;
        out->authorization_count++;
    }
    return PL_OK;
}

enum pl_err pl_acme_read_order(
    struct pl_bytes body, struct pl_arena *arena, struct pl_acme_order *out, struct pl_diag *diag)
{
    json_t *root = load(body);
    if (!root)
        return malformed(diag, "order", "is no JSON object");
    *out = (struct pl_acme_order){0};
    enum pl_err err = read_status(root, &out->status, diag);
    if (!err)
        err = need_url(root, "finalize", arena, &out->finalize, diag);
    if (!err)
        err = read_url(root, "certificate", arena, &out->certificate, diag);
    if (!err)
        err = read_authorizations(root, arena, out, diag);
    if (!err && out->status == PL_ACME_VALID && !out->certificate)
        err = malformed(diag, "order", "is valid and names no certificate");
    read_problem(json_object_get(root, "error"), &out->problem);
    json_decref(root);
    return err;
}

static enum pl_err read_challenge(const json_t *item, struct pl_arena *arena,
    struct pl_acme_authorization *out, struct pl_diag *diag)
{
    struct pl_bytes token = member_text(item, "token");
    enum pl_err err = need_url(item, "url", arena, &out->url, diag);
    if (err)
        return err;
    if (!pl_acme_is_token(token, PL_ACME_TOKEN_MAX))
        return malformed(diag, "token", "expected base64url");
    out->token = pl_arena_copy(arena, token);
    read_problem(json_object_get(item, "error"), &out->problem);
    return out->token ? PL_OK : PL_NO_MEMORY;
}

enum pl_err pl_acme_read_authorization(struct pl_bytes body, const char *challenge,
    struct pl_arena *arena, struct pl_acme_authorization *out, struct pl_diag *diag)
{
    json_t *root = load(body);
    if (!root)
        return malformed(diag, "authorization", "is no JSON object");
    *out = (struct pl_acme_authorization){0};
    const json_t *identifier = json_object_get(root, "identifier");
    const json_t *list = json_object_get(root, "challenges");
    struct pl_bytes domain = member_text(identifier, "value");
    enum pl_err err = read_status(root, &out->status, diag);
    if (!err && (!pl_bytes_equal(member_text(identifier, "type"), PL_BYTES("dns")) ||
                    domain.len == 0 || domain.len > 253 || memchr(domain.data, 0, domain.len)))
        err = malformed(diag, "authorization", "is not for a name");
    if (!err && json_array_size(list) > PL_ACME_CHALLENGES_MAX)
        err = malformed(diag, "challenges", "are too many");
    if (!err && !(out->domain = pl_arena_copy(arena, domain)))
        err = PL_NO_MEMORY;
    for (size_t i = 0; i < json_array_size(list) && !err && !out->url; i++) {
        const json_t *item = json_array_get(list, i);
        if (pl_bytes_equal(member_text(item, "type"), pl_bytes_text(challenge)))
            err = read_challenge(item, arena, out, diag);
    }
    json_decref(root);
    return err;
}

void pl_acme_read_problem(struct pl_bytes body, struct pl_acme_problem *out)
{
    json_t *root = load(body);
    read_problem(root, out);
    json_decref(root);
}
