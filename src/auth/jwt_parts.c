#include "auth/jwt_parts.h"

#include "auth/jwt_key.h"
#include "base/alloc.h"
#include "base/text.h"

static enum pl_err refuse(struct pl_diag *diag, const char *why)
{
    pl_diag_set(diag, 0, "token: %s", why);
    return PL_BAD_LOGIN;
}

static bool is_base64url(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

enum pl_err pl_jwt_split(struct pl_bytes token, struct pl_jwt_parts *out, struct pl_diag *diag)
{
    if (token.len > PL_JWT_MAX)
        return refuse(diag, "longer than 8 KiB");
    size_t dots[2], count = 0;
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] == '.' && count < 2)
            dots[count++] = i;
        else if (!is_base64url(token.data[i]))
            return refuse(diag, "not three parts of base64url");
    }
    if (count < 2 || dots[0] == 0 || dots[1] == dots[0] + 1)
        return refuse(diag, "not three parts of base64url");
    *out = (struct pl_jwt_parts){
        .header = pl_bytes_of(token.data, dots[0]),
        .claims = pl_bytes_of(token.data + dots[0] + 1, dots[1] - dots[0] - 1),
        .signature = pl_bytes_from(token, dots[1] + 1),
        .signed_text = pl_bytes_of(token.data, dots[1]),
    };
    return PL_OK;
}

enum pl_err pl_jwt_decode_part(
    struct pl_bytes part, uint8_t memory[PL_JWT_MAX], struct pl_diag *diag, struct pl_bytes *out)
{
    size_t len;
    bool is_good = part.len <= PL_JWT_MAX;
    for (size_t i = 0; i < part.len && is_good; i++)
        is_good = is_base64url(part.data[i]);
    if (!is_good || pl_base64_decode(part, true, memory, &len) != PL_OK)
        return refuse(diag, "not three parts of base64url");
    *out = pl_bytes_of(memory, len);
    return PL_OK;
}

/* Before the parser runs, which would recurse. Brackets in texts do not count. */
static bool is_too_deep(struct pl_bytes json)
{
    int depth = 0;
    bool in_text = false;
    for (size_t i = 0; i < json.len; i++) {
        uint8_t c = json.data[i];
        if (in_text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_text = false;
        } else if (c == '"') {
            in_text = true;
        } else if (c == '{' || c == '[') {
            if (++depth > PL_JWT_DEPTH_MAX)
                return true;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

enum pl_err pl_jwt_read_part(struct pl_bytes part, struct pl_diag *diag, json_t **out_object)
{
    uint8_t memory[PL_JWT_MAX];
    struct pl_bytes text;
    enum pl_err err = pl_jwt_decode_part(part, memory, diag, &text);
    if (err != PL_OK)
        return err;
    if (is_too_deep(text))
        return refuse(diag, "nested too deeply");
    json_error_t error;
    json_t *object = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(object)) {
        *out_object = object;
        return PL_OK;
    }
    bool no_memory = !object && json_error_code(&error) == json_error_out_of_memory;
    json_decref(object);
    if (no_memory) {
        pl_diag_set(diag, 0, "token: %s", pl_err_text(PL_NO_MEMORY));
        return PL_NO_MEMORY;
    }
    return refuse(diag, "a part is no JSON object, or has a key twice");
}
