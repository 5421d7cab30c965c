/*
 * Making tokens and looking into them: for `parley token` and for tests. The server does neither.
 */
#include <stdio.h>
#include <stdlib.h>

#include "auth/jwt_key.h"
#include "auth/jwt_parts.h"
#include "base/alloc.h"
#include "base/text.h"

static enum pl_err out_of_memory(struct pl_diag *diag)
{
    pl_diag_set(diag, 0, "token: %s", pl_err_text(PL_NO_MEMORY));
    return PL_NO_MEMORY;
}

static char *make_header(const struct pl_jwt_key *key)
{
    json_t *header = json_pack("{s:s, s:s}", "alg", key->algorithm->name, "typ", "JWT");
    if (header && key->kid && json_object_set_new(header, "kid", json_string(key->kid)) < 0) {
        json_decref(header);
        return NULL;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    return text;
}

/* Appends the base64url of a part at *at. */
static void write_part(char *out, size_t *at, const void *bytes, size_t len)
{
    *at += pl_base64_encode(pl_bytes_of(bytes, len), true, out + *at);
}

static enum pl_err assemble(const struct pl_jwt_key *key, const char *header, const char *claims,
    struct pl_diag *diag, char **out_token)
{
    size_t header_len = strlen(header), claims_len = strlen(claims), at = 0;
    uint8_t signature[PL_JWT_SIGNATURE_MAX];
    size_t signature_len;
    char *token =
        pl_alloc((header_len + claims_len + sizeof(signature)) / 3 * 4 + 3 * 4 + sizeof("..") + 8);
    if (!token)
        return out_of_memory(diag);
    write_part(token, &at, header, header_len);
    token[at++] = '.';
    write_part(token, &at, claims, claims_len);
    if (pl_jwt_key_sign(key, pl_bytes_of(token, at), signature, &signature_len) != PL_OK) {
        pl_diag_set(diag, 0, "token: the key cannot sign with %s", key->algorithm->name);
        pl_free(token);
        return PL_CONFIG;
    }
    token[at++] = '.';
    write_part(token, &at, signature, signature_len);
    token[at] = 0;
    if (at > PL_JWT_MAX) {
        pl_diag_set(
            diag, 0, "token: longer than %d bytes, which the server would refuse", PL_JWT_MAX);
        pl_free(token);
        return PL_TOO_LARGE;
    }
    *out_token = token;
    return PL_OK;
}

enum pl_err pl_jwt_sign(
    const struct pl_jwt_key_config *key, const char *claims, struct pl_diag *diag, char **out_token)
{
    struct pl_jwt_key loaded = {0};
    enum pl_err err = pl_jwt_key_load_private(&loaded, key, diag);
    if (err == PL_OK) {
        char *header = make_header(&loaded);
        err = header ? assemble(&loaded, header, claims, diag, out_token) : out_of_memory(diag);
        free(header); /* jansson's own */
    }
    pl_jwt_key_done(&loaded);
    return err;
}

/* *out: pl_free it. */
static enum pl_err print_part(struct pl_bytes part, struct pl_diag *diag, char **out)
{
    json_t *object;
    enum pl_err err = pl_jwt_read_part(part, diag, &object);
    if (err != PL_OK)
        return err;
    char *text = json_dumps(object, JSON_INDENT(2));
    json_decref(object);
    *out = text ? pl_alloc_copy(text, strlen(text)) : NULL;
    free(text); /* jansson's own */
    return *out ? PL_OK : out_of_memory(diag);
}

enum pl_err pl_jwt_decode(
    struct pl_bytes token, struct pl_diag *diag, char **out_header, char **out_claims)
{
    struct pl_jwt_parts parts;
    enum pl_err err = pl_jwt_split(token, &parts, diag);
    if (err == PL_OK)
        err = print_part(parts.header, diag, out_header);
    if (err != PL_OK)
        return err;
    err = print_part(parts.claims, diag, out_claims);
    if (err != PL_OK)
        pl_free(*out_header);
    return err;
}
