/*
 * Checking a token, in an order that does the least for a stranger:
 *
 *     size → three parts → header (shape, alg, crit, cty) → keys that are pinned to alg →
 *     signature → claims (shape, times, iss, aud) → identity
 *
 * Nothing of the claims is looked at before the signature is good.
 */
#include "auth/jwt.h"

#include <math.h>

#include "auth/jwt_key.h"
#include "auth/jwt_parts.h"
#include "base/alloc.h"
#include "base/text.h"

enum {
    ATTRIBUTES_MAX = 64, /* of the claims; a role's template that misses one refuses the login */
    INTEGER_TEXT_MAX = 24,
};

/* Largest integer that every JSON reader keeps. */
static const double integer_max = 9007199254740992.0;

struct checking {
    const struct pl_jwt_config *config;
    uint64_t now_unix_ms;
    struct pl_identity *identity;
    struct pl_diag *diag;
    json_t *claims;
};

static enum pl_err refuse(struct pl_diag *diag, const char *why)
{
    pl_diag_set(diag, 0, "token: %s", why);
    return PL_BAD_LOGIN;
}

static enum pl_err refuse_claim(const struct checking *c, const char *name, const char *why)
{
    pl_diag_set(c->diag, 0, "token: the claim %s %s", name, why);
    return PL_BAD_LOGIN;
}

bool pl_jwt_looks_like(struct pl_bytes token)
{
    struct pl_jwt_parts parts;
    struct pl_diag diag;
    json_t *header;
    if (pl_jwt_split(token, &parts, &diag) != PL_OK ||
        pl_jwt_read_part(parts.header, &diag, &header) != PL_OK)
        return false;
    bool has_alg = json_is_string(json_object_get(header, "alg"));
    json_decref(header);
    return has_alg;
}

/* The header's say: which algorithm and key; everything that would change the meaning is refused.
 * *out_kid lies in header. */
static enum pl_err read_header(const json_t *header, struct pl_diag *diag,
    const struct pl_jwt_algorithm **out_algorithm, struct pl_bytes *out_kid)
{
    const json_t *alg = json_object_get(header, "alg"), *kid = json_object_get(header, "kid"),
                 *cty = json_object_get(header, "cty");
    if (json_object_get(header, "crit"))
        return refuse(diag, "an extension that must be understood (crit) is not");
    if (!json_is_string(alg))
        return refuse(diag, "the header names no alg");
    *out_algorithm =
        pl_jwt_algorithm_find(pl_bytes_of(json_string_value(alg), json_string_length(alg)));
    if (!*out_algorithm)
        return refuse(diag, "the header's alg is not supported");
    if (cty && !(json_is_string(cty) &&
                   !pl_bytes_equal_nocase(pl_bytes_text(json_string_value(cty)), PL_BYTES("JWT"))))
        return refuse(diag, "a token inside a token");
    if (kid && !json_is_string(kid))
        return refuse(diag, "the header's kid is no text");
    *out_kid = kid ? pl_bytes_of(json_string_value(kid), json_string_length(kid)) : PL_NO_BYTES;
    return PL_OK;
}

/* *out_key: by which the signature is good. */
static enum pl_err check_signature(const struct pl_jwt_ring *ring, const struct pl_jwt_parts *parts,
    struct pl_diag *diag, const struct pl_jwt_key **out_key)
{
    json_t *header;
    enum pl_err err = pl_jwt_read_part(parts->header, diag, &header);
    if (err != PL_OK)
        return err;
    const struct pl_jwt_algorithm *algorithm;
    struct pl_bytes kid, signature;
    uint8_t memory[PL_JWT_MAX];
    err = read_header(header, diag, &algorithm, &kid);
    if (err == PL_OK)
        err = pl_jwt_decode_part(parts->signature, memory, diag, &signature);
    if (err == PL_OK) {
        *out_key = NULL;
        for (size_t i = 0; i < ring->count && !*out_key; i++)
            *out_key =
                pl_jwt_keys_verify(ring->sets[i], algorithm, kid, parts->signed_text, signature);
        if (!*out_key)
            err = refuse(diag, "no key by which its signature is good");
    }
    json_decref(header);
    return err;
}

/* A NumericDate in milliseconds. False: no number, or none of a time. */
static bool read_date(const json_t *value, double *out_ms)
{
    double seconds = json_number_value(value);
    *out_ms = seconds * 1000;
    return json_is_number(value) && isfinite(seconds) && fabs(seconds) <= integer_max / 1000;
}

static uint64_t clamp_ms(double ms)
{
    return ms <= 0 ? 0 : (uint64_t)ms;
}

static enum pl_err check_times(struct checking *c)
{
    const json_t *exp = json_object_get(c->claims, "exp"), *nbf = json_object_get(c->claims, "nbf"),
                 *iat = json_object_get(c->claims, "iat");
    double now = (double)c->now_unix_ms, leeway = (double)c->config->leeway_ms, at;
    if (nbf && !read_date(nbf, &at))
        return refuse_claim(c, "nbf", "is no time");
    if (nbf && at > now + leeway)
        return refuse_claim(c, "nbf", "is in the future");
    if (iat && !read_date(iat, &at))
        return refuse_claim(c, "iat", "is no time");
    if (iat && at > now + leeway)
        return refuse_claim(c, "iat", "is in the future");
    if (iat)
        c->identity->issued_unix_ms = clamp_ms(at);
    if (!exp && c->config->requires_expiry)
        return refuse_claim(c, "exp", "is missing");
    c->identity->expires_unix_ms = PL_NEVER;
    if (!exp)
        return PL_OK;
    if (!read_date(exp, &at))
        return refuse_claim(c, "exp", "is no time");
    at += leeway;
    if (at <= now) {
        refuse_claim(c, "exp", "is in the past");
        return PL_EXPIRED;
    }
    c->identity->expires_unix_ms = clamp_ms(at);
    return PL_OK;
}

static bool is_listed(struct pl_texts list, const json_t *value)
{
    if (!json_is_string(value))
        return false;
    struct pl_bytes text = pl_bytes_of(json_string_value(value), json_string_length(value));
    for (size_t i = 0; i < list.count; i++) {
        if (pl_bytes_equal(text, pl_bytes_text(list.items[i])))
            return true;
    }
    return false;
}

static enum pl_err check_parties(const struct checking *c)
{
    const json_t *iss = json_object_get(c->claims, "iss"), *aud = json_object_get(c->claims, "aud");
    if (iss && !json_is_string(iss))
        return refuse_claim(c, "iss", "is no text");
    if (c->config->issuers.count && !is_listed(c->config->issuers, iss))
        return refuse_claim(c, "iss", "is not one that we trust");

    struct pl_texts ours = c->config->audiences;
    bool is_meant = !aud && ours.count == 0;
    for (size_t i = 0; i < json_array_size(aud) && !is_meant; i++)
        is_meant = is_listed(ours, json_array_get(aud, i));
    if (!is_meant && !is_listed(ours, aud))
        return refuse_claim(c, "aud", "does not name us");
    return PL_OK;
}

/* A copy in the identity's memory. */
static enum pl_err keep(
    struct pl_identity *identity, const void *bytes, size_t len, struct pl_bytes *out)
{
    const char *copy = pl_arena_copy(identity->memory, pl_bytes_of(bytes, len));
    if (!copy)
        return PL_NO_MEMORY;
    *out = pl_bytes_of(copy, len);
    return PL_OK;
}

/* A text, or an integer as JavaScript prints it: 5, 5.0 and 5e0 are 5. PL_MALFORMED: neither,
 * empty, too long, or with control characters. */
static enum pl_err keep_name(
    struct pl_identity *identity, const json_t *value, struct pl_bytes *out)
{
    if (json_is_number(value)) {
        double number = json_number_value(value);
        if (!(fabs(number) <= integer_max) || floor(number) != number)
            return PL_MALFORMED;
        long long integer = json_is_integer(value) ? json_integer_value(value) : (long long)number;
        if (integer > (long long)integer_max || integer < -(long long)integer_max)
            return PL_MALFORMED; /* rounded to it */
        char text[INTEGER_TEXT_MAX];
        int len = snprintf(text, sizeof(text), "%lld", integer);
        return keep(identity, text, (size_t)len, out);
    }
    size_t len = json_is_string(value) ? json_string_length(value) : 0;
    const char *text = json_string_value(value);
    if (len == 0 || len > PL_ATTRIBUTE_VALUE_MAX)
        return PL_MALFORMED;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return PL_MALFORMED;
    }
    return keep(identity, text, len, out);
}

static enum pl_err keep_claim(
    const struct checking *c, const char *name, const json_t *value, struct pl_bytes *out)
{
    if (!value)
        return PL_OK;
    enum pl_err err = keep_name(c->identity, value, out);
    return err == PL_MALFORMED ? refuse_claim(c, name, "is no name of 1 to 256 bytes") : err;
}

static bool holds_something(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
    case JSON_FALSE:
        return false;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return json_number_value(value) != 0;
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_TRUE:
        return true;
    }
    return false;
}

static enum pl_err keep_text(struct pl_identity *identity, const char *text, struct pl_bytes *out)
{
    return keep(identity, text, strlen(text), out);
}

/* Who it is and in which role; *out_source tells where the role came from. */
static enum pl_err read_person(const struct checking *c, const char **out_source)
{
    const struct pl_jwt_config *config = c->config;
    const char *user_claim = config->user_claim ? config->user_claim : "user_id";
    if (!config->user_claim && !json_object_get(c->claims, "user_id"))
        user_claim = "sub";
    enum pl_err err =
        keep_claim(c, user_claim, json_object_get(c->claims, user_claim), &c->identity->user);
    if (err == PL_OK)
        err = keep_claim(c, "jti", json_object_get(c->claims, "jti"), &c->identity->token_id);
    if (err != PL_OK)
        return err;

    const char *role_claim = config->role_claim ? config->role_claim : "role";
    const json_t *role = json_object_get(c->claims, role_claim);
    const char *handler_claim = config->handler_claim ? config->handler_claim : "handler";
    const json_t *handler = json_object_get(c->claims, handler_claim);
    if (role) {
        *out_source = "claim";
        return json_is_string(role) ? keep_claim(c, role_claim, role, &c->identity->role)
                                    : refuse_claim(c, role_claim, "is no text");
    }
    if (config->handler_role && handler && holds_something(handler)) {
        *out_source = "handler";
        return keep_text(c->identity, config->handler_role, &c->identity->role);
    }
    if (config->nameless_role && c->identity->user.len == 0) {
        *out_source = "nameless";
        c->identity->user = PL_BYTES("/");
        return keep_text(c->identity, config->nameless_role, &c->identity->role);
    }
    if (config->default_role) {
        *out_source = "default";
        return keep_text(c->identity, config->default_role, &c->identity->role);
    }
    /* Without a role: pl_roles_apply asks for `permissions`. */
    *out_source = "none";
    return PL_OK;
}

static bool is_attribute_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return len > 0 && name[len] == 0 && len <= PL_ATTRIBUTE_VALUE_MAX;
}

/* Claims that stand elsewhere in the identity, or say nothing about the person. */
static bool is_own_field(const char *name)
{
    static const char *const names[] = {"user_id", "role", "jti", "exp", "nbf", "iat", "aud"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* Claims that narrow a role, which are kept whole. */
static bool is_narrowing(const char *name)
{
    return strcmp(name, "permissions") == 0 || strcmp(name, "allowed_subjects") == 0 ||
           strcmp(name, "deny_subjects") == 0;
}

/* PL_NOT_FOUND: not of a kind that is kept. */
static enum pl_err keep_value(
    struct pl_identity *identity, const char *name, const json_t *value, struct pl_bytes *out)
{
    if (is_narrowing(name)) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        if (!text)
            return PL_NO_MEMORY;
        enum pl_err err = keep_text(identity, text, out);
        free(text); /* jansson's own */
        return err;
    }
    if (json_is_boolean(value))
        return keep_text(identity, json_is_true(value) ? "true" : "false", out);
    enum pl_err err = keep_name(identity, value, out);
    return err == PL_MALFORMED ? PL_NOT_FOUND : err;
}

static enum pl_err read_attributes(
    const struct checking *c, const struct pl_jwt_key *key, const char *role_source)
{
    struct pl_attribute found[ATTRIBUTES_MAX];
    uint32_t count = 0;
    struct pl_identity *identity = c->identity;
    const struct {
        const char *name;
        struct pl_bytes value;
    } own[] = {
        {"user_id", strcmp(role_source, "nameless") == 0 ? PL_NO_BYTES : identity->user},
        {".key", pl_bytes_text(key->fingerprint)},
        {".role", pl_bytes_text(role_source)},
    };
    enum pl_err err;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (own[i].value.len == 0)
            continue;
        found[count].name = pl_bytes_text(own[i].name);
        err = keep(identity, own[i].value.data, own[i].value.len, &found[count++].value);
        if (err != PL_OK)
            return err;
    }
    /* What narrows comes first: nothing may crowd it out. */
    for (int pass = 0; pass < 2; pass++) {
        const char *name;
        json_t *value;
        json_object_foreach(c->claims, name, value)
        {
            bool is_wanted = is_attribute_name(name) && !is_own_field(name);
            if (!is_wanted || is_narrowing(name) != (pass == 0) || count == ATTRIBUTES_MAX)
                continue;
            err = keep_value(identity, name, value, &found[count].value);
            if (err == PL_OK)
                err = keep_text(identity, name, &found[count++].name);
            if (err != PL_OK && err != PL_NOT_FOUND)
                return err;
        }
    }
    struct pl_attribute *kept = pl_arena_alloc(identity->memory, count * sizeof(*kept));
    if (!kept)
        return PL_NO_MEMORY;
    memcpy(kept, found, count * sizeof(*kept));
    identity->attributes = kept;
    identity->attribute_count = count;
    return PL_OK;
}

static enum pl_err read_claims(struct checking *c, const struct pl_jwt_key *key)
{
    enum pl_err err = check_times(c);
    if (err == PL_OK)
        err = check_parties(c);
    const json_t *realm = json_object_get(c->claims, "realm");
    if (err == PL_OK && realm && !(json_is_string(realm) && json_string_length(realm)))
        err = refuse_claim(c, "realm", "is no text");
    const char *role_source = "none";
    if (err == PL_OK)
        err = read_person(c, &role_source);
    if (err == PL_OK)
        err = read_attributes(c, key, role_source);
    c->identity->method = PL_BYTES("jwt");
    return err;
}

bool pl_jwt_names_unknown_key(const struct pl_jwt_ring *ring, struct pl_bytes token)
{
    struct pl_jwt_parts parts;
    struct pl_diag diag;
    json_t *header;
    const struct pl_jwt_algorithm *algorithm;
    struct pl_bytes kid;
    if (pl_jwt_split(token, &parts, &diag) != PL_OK ||
        pl_jwt_read_part(parts.header, &diag, &header) != PL_OK)
        return false;
    bool is_unknown = read_header(header, &diag, &algorithm, &kid) == PL_OK && kid.len > 0 &&
                      algorithm->type != PL_JWT_SECRET;
    for (size_t i = 0; i < ring->count && is_unknown; i++)
        is_unknown = !pl_jwt_keys_have_id(ring->sets[i], kid);
    json_decref(header);
    return is_unknown;
}

enum pl_err pl_jwt_verify(const struct pl_jwt_ring *ring, const struct pl_jwt_config *config,
    struct pl_bytes token, uint64_t now_unix_ms, struct pl_identity *identity, struct pl_diag *diag)
{
    struct pl_jwt_parts parts;
    const struct pl_jwt_key *key;
    enum pl_err err = pl_jwt_split(token, &parts, diag);
    if (err == PL_OK)
        err = check_signature(ring, &parts, diag, &key);
    struct checking c = {config, now_unix_ms, identity, diag, NULL};
    if (err == PL_OK)
        err = pl_jwt_read_part(parts.claims, diag, &c.claims);
    if (err != PL_OK)
        return err;
    err = read_claims(&c, key);
    json_decref(c.claims);
    return err;
}
