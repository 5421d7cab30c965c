/*
 * The shape of a token: three parts of base64url, two of them JSON objects.
 */
#ifndef PL_AUTH_JWT_PARTS_H
#define PL_AUTH_JWT_PARTS_H

#include <jansson.h>

#include "auth/jwt.h"

struct pl_jwt_parts {
    struct pl_bytes header, claims, signature; /* still encoded */
    struct pl_bytes signed_text;               /* header, dot, claims */
};

/* PL_BAD_LOGIN: too long, not three parts, an empty header or claims. All slices of token. */
PL_MUST_USE enum pl_err pl_jwt_split(
    struct pl_bytes token, struct pl_jwt_parts *out, struct pl_diag *diag);

/* PL_BAD_LOGIN: not base64url without padding. *out lies in memory. */
PL_MUST_USE enum pl_err pl_jwt_decode_part(
    struct pl_bytes part, uint8_t memory[PL_JWT_MAX], struct pl_diag *diag, struct pl_bytes *out);

/*
 * A part that must be a JSON object: not nested deeper than PL_JWT_DEPTH_MAX, no key twice, UTF-8.
 * json_decref *out_object. PL_BAD_LOGIN, PL_NO_MEMORY.
 */
PL_MUST_USE enum pl_err pl_jwt_read_part(
    struct pl_bytes part, struct pl_diag *diag, json_t **out_object);

#endif
