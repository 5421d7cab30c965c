/*
 * CONNECT and INFO: one JSON object each, whose members are a table of where they go.
 */
#include "codec/json.h"
#include "codec/nats.h"

#include <stddef.h>

enum member_kind { MEMBER_BOOL, MEMBER_STRING, MEMBER_INTEGER };

struct member {
    const char *name;
    uint8_t kind;       /* enum member_kind */
    uint8_t size;       /* of an integer's field */
    uint16_t at;        /* offset of the field */
    uint16_t has_at;    /* offset of a bool that says it was there; 0: none (no field is at 0) */
    int64_t min, limit; /* of an integer */
};

struct reader {
    const struct member *members;
    size_t member_count;
    uint8_t *base;   /* the struct that is filled */
    uint8_t *memory; /* where strings go */
};

static void put_integer(uint8_t *field, uint8_t size, int64_t v)
{
    if (size == sizeof(uint16_t))
        memcpy(field, &(uint16_t){(uint16_t)v}, sizeof(uint16_t));
    else if (size == sizeof(uint32_t))
        memcpy(field, &(uint32_t){(uint32_t)v}, sizeof(uint32_t));
    else
        memcpy(field, &v, sizeof v);
}

static enum pl_err fill(struct reader *r, const struct member *m, struct pl_json_member value)
{
    uint8_t *field = r->base + m->at;
    if (value.kind == PL_JSON_NULL)
        return PL_OK;
    switch ((enum member_kind)m->kind) {
    case MEMBER_BOOL:
        if (value.kind != PL_JSON_TRUE && value.kind != PL_JSON_FALSE)
            return PL_MALFORMED;
        *(bool *)field = value.kind == PL_JSON_TRUE;
        break;
    case MEMBER_INTEGER: {
        int64_t v;
        if (pl_json_integer(value, m->min, m->limit, &v) != PL_OK)
            return PL_MALFORMED;
        put_integer(field, m->size, v);
        break;
    }
    case MEMBER_STRING: {
        if (value.kind != PL_JSON_STRING)
            return PL_MALFORMED;
        size_t len = pl_json_unescape(value.value, r->memory);
        struct pl_bytes text = pl_bytes_of(r->memory, len);
        memcpy(field, &text, sizeof text);
        r->memory += len;
        break;
    }
    }
    if (m->has_at)
        *(bool *)(r->base + m->has_at) = true;
    return PL_OK;
}

static enum pl_err on_member(void *context, struct pl_json_member value)
{
    struct reader *r = context;
    for (size_t i = 0; i < r->member_count; i++)
        if (pl_bytes_equal_nocase(value.name, pl_bytes_text(r->members[i].name)))
            return fill(r, &r->members[i], value);
    return PL_OK;
}

#define C(field) offsetof(struct pl_nats_connect, field)

static const struct member connect_members[] = {
    {"verbose", MEMBER_BOOL, .at = C(verbose)},
    {"pedantic", MEMBER_BOOL, .at = C(pedantic)},
    {"echo", MEMBER_BOOL, .at = C(echo)},
    {"headers", MEMBER_BOOL, .at = C(headers)},
    {"no_responders", MEMBER_BOOL, .at = C(no_responders)},
    {"tls_required", MEMBER_BOOL, .at = C(tls_required)},
    {"protocol", MEMBER_INTEGER, sizeof(int64_t), C(protocol), 0, INT32_MIN, INT32_MAX},
    {"user", MEMBER_STRING, .at = C(user), .has_at = C(has_user)},
    {"pass", MEMBER_STRING, .at = C(pass), .has_at = C(has_pass)},
    {"auth_token", MEMBER_STRING, .at = C(auth_token), .has_at = C(has_token)},
    {"jwt", MEMBER_STRING, .at = C(jwt), .has_at = C(has_jwt)},
    {"account", MEMBER_STRING, .at = C(account)},
    {"name", MEMBER_STRING, .at = C(name)},
    {"lang", MEMBER_STRING, .at = C(lang)},
    {"version", MEMBER_STRING, .at = C(version)},
};

#undef C

const struct pl_nats_connect pl_nats_connect_default = {
    .verbose = true, .pedantic = true, .echo = true};

/* NOLINTNEXTLINE(readability-non-const-parameter): the reader writes to memory. */
enum pl_err pl_nats_read_connect(struct pl_bytes text, uint8_t *memory, struct pl_nats_connect *io)
{
    struct reader r = {.members = connect_members,
        .member_count = sizeof connect_members / sizeof connect_members[0],
        .base = (uint8_t *)io,
        .memory = memory};
    return pl_json_each_member(text, on_member, &r);
}

/* Writes `name`, with a comma unless it is the first. */
static void begin_member(struct pl_writer *w, const char *name, bool is_first)
{
    pl_write_text(w, is_first ? "{\"" : ",\"");
    pl_write_text(w, name);
    pl_write_text(w, "\":");
}

static void write_bool(struct pl_writer *w, const char *name, bool v)
{
    begin_member(w, name, false);
    pl_write_text(w, v ? "true" : "false");
}

static void write_string(struct pl_writer *w, const char *name, struct pl_bytes v)
{
    begin_member(w, name, false);
    pl_json_write_string(w, v);
}

static void write_number(struct pl_writer *w, const char *name, uint64_t v)
{
    begin_member(w, name, false);
    pl_write_decimal(w, v);
}

void pl_nats_write_connect(struct pl_writer *w, const struct pl_nats_connect *connect)
{
    pl_write_text(w, "CONNECT ");
    begin_member(w, "verbose", true);
    pl_write_text(w, connect->verbose ? "true" : "false");
    write_bool(w, "pedantic", connect->pedantic);
    write_bool(w, "tls_required", connect->tls_required);
    if (connect->has_user)
        write_string(w, "user", connect->user);
    if (connect->has_pass)
        write_string(w, "pass", connect->pass);
    if (connect->has_token)
        write_string(w, "auth_token", connect->auth_token);
    if (connect->has_jwt)
        write_string(w, "jwt", connect->jwt);
    write_string(w, "name", connect->name);
    write_string(w, "lang", connect->lang);
    write_string(w, "version", connect->version);
    write_number(w, "protocol", (uint64_t)connect->protocol);
    write_bool(w, "echo", connect->echo);
    write_bool(w, "headers", connect->headers);
    write_bool(w, "no_responders", connect->no_responders);
    pl_write_text(w, "}\r\n");
}

#define I(field) offsetof(struct pl_nats_info, field)

/* server_id stands first in the struct and needs no "was there". */
static const struct member info_members[] = {
    {"server_id", MEMBER_STRING, .at = I(server_id)},
    {"server_name", MEMBER_STRING, .at = I(server_name)},
    {"version", MEMBER_STRING, .at = I(version)},
    {"git_commit", MEMBER_STRING, .at = I(build)},
    {"host", MEMBER_STRING, .at = I(host)},
    {"client_ip", MEMBER_STRING, .at = I(client_ip)},
    {"client_id", MEMBER_INTEGER, sizeof(uint64_t), I(client_id), 0, 0, INT64_MAX},
    {"max_payload", MEMBER_INTEGER, sizeof(uint32_t), I(max_payload), 0, 0, INT32_MAX},
    {"port", MEMBER_INTEGER, sizeof(uint16_t), I(port), 0, 0, UINT16_MAX},
    {"headers", MEMBER_BOOL, .at = I(headers)},
    {"auth_required", MEMBER_BOOL, .at = I(auth_required)},
    {"tls_required", MEMBER_BOOL, .at = I(tls_required)},
    {"tls_available", MEMBER_BOOL, .at = I(tls_available)},
    {"ldm", MEMBER_BOOL, .at = I(ldm)},
};

#undef I

/* NOLINTNEXTLINE(readability-non-const-parameter): the reader writes to memory. */
enum pl_err pl_nats_read_info(struct pl_bytes text, uint8_t *memory, struct pl_nats_info *io)
{
    struct reader r = {.members = info_members,
        .member_count = sizeof info_members / sizeof info_members[0],
        .base = (uint8_t *)io,
        .memory = memory};
    return pl_json_each_member(text, on_member, &r);
}

/* Members in nats-server's order; what is false or empty is left out where it leaves it out. */
void pl_nats_write_info(struct pl_writer *w, const struct pl_nats_info *info)
{
    pl_write_text(w, "INFO ");
    begin_member(w, "server_id", true);
    pl_json_write_string(w, info->server_id);
    write_string(w, "server_name", info->server_name);
    write_string(w, "version", info->version);
    write_number(w, "proto", 1);
    write_string(w, "git_commit", info->build);
    write_string(w, "host", info->host);
    write_number(w, "port", info->port);
    write_bool(w, "headers", info->headers);
    if (info->auth_required)
        write_bool(w, "auth_required", true);
    if (info->tls_required)
        write_bool(w, "tls_required", true);
    if (info->tls_available)
        write_bool(w, "tls_available", true);
    write_number(w, "max_payload", info->max_payload);
    write_number(w, "client_id", info->client_id);
    if (info->client_ip.len)
        write_string(w, "client_ip", info->client_ip);
    if (info->ldm)
        write_bool(w, "ldm", true);
    pl_write_text(w, "} \r\n");
}
