#include "codec/wamp.h"

#include "codec/value_state.h"

struct shape {
    const char *name, *elements;
};

/* By type; NULL where there is none. */
static const struct shape shapes[] = {
#define PL_WAMP(name, code, shape) [code] = {#name, shape},
#include "codec/wamp.def"
#undef PL_WAMP
};

enum { WAMP_SHAPES = sizeof shapes / sizeof *shapes };

static const struct shape *find_shape(uint32_t type)
{
    return type < WAMP_SHAPES && shapes[type].name ? &shapes[type] : NULL;
}

const char *pl_wamp_type_name(uint32_t type)
{
    const struct shape *shape = find_shape(type);
    return shape ? shape->name : NULL;
}

static enum pl_err complain(
    struct pl_diag *diag, const struct shape *shape, size_t at, const char *what)
{
    pl_diag_set(diag, 0, "element %zu of %s %s", at + 1, shape->name, what);
    return PL_MALFORMED;
}

/* An id; 0 is for the one who asked to refuse. */
static bool take_id(struct pl_wamp *m, const struct pl_value *value)
{
    uint64_t id;
    if (!pl_value_natural(value, &id) || id > (uint64_t)1 << 53 || m->id_count == PL_WAMP_IDS_MAX)
        return false;
    m->ids[m->id_count++] = id;
    return true;
}

/* What an element must be; NULL: it is, else a word for people. */
static const char *take_element(struct pl_wamp *m, char kind, const struct pl_value *value)
{
    uint64_t type;
    switch (kind) {
    case 'i':
        return take_id(m, value) ? NULL : "is no id";
    case 'r':
        if (!pl_value_natural(value, &type) || type > UINT32_MAX)
            return "is no message type";
        m->request_type = (uint32_t)type;
        return NULL;
    case 'd':
    case 'D':
        m->details = *value;
        return value->kind == PL_VALUE_DICT ? NULL : "is no dictionary";
    default:
        m->text = *value;
        return value->kind == PL_VALUE_STRING ? NULL : "is no string";
    }
}

/* Arguments, or what payload passthru has in their place; then ArgumentsKw. */
static enum pl_err take_payload(
    struct pl_wamp *m, struct pl_list *list, const struct shape *shape, struct pl_diag *diag)
{
    struct pl_value value;
    bool is_there;
    size_t at = strlen(shape->elements);
    enum pl_err err = pl_list_next(list, &value, &is_there);
    if (err || !is_there)
        return err;
    if (value.kind != PL_VALUE_LIST && value.kind != PL_VALUE_BINARY)
        return complain(diag, shape, at, "are no arguments");
    const uint8_t *start = list->item_at;
    const uint8_t *end = list->scan.at;
    bool is_empty = value.kind == PL_VALUE_LIST && !value.count;
    if ((err = pl_list_next(list, &value, &is_there)))
        return err;
    if (is_there) {
        if (value.kind != PL_VALUE_DICT)
            return complain(diag, shape, at + 1, "is no dictionary");
        if (value.count) {
            end = list->scan.at;
            is_empty = false;
        }
    }
    if (!is_empty)
        m->payload = pl_bytes_of(start, (size_t)(end - start));
    return PL_OK;
}

static enum pl_err take_elements(
    struct pl_wamp *m, struct pl_list *list, const struct shape *shape, struct pl_diag *diag)
{
    for (size_t i = 0; shape->elements[i]; i++) {
        char kind = shape->elements[i];
        if (kind == 'a')
            return take_payload(m, list, shape, diag);
        struct pl_value value;
        bool is_there;
        enum pl_err err = pl_list_next(list, &value, &is_there);
        if (err)
            return err;
        if (!is_there)
            return kind == 'D' ? PL_OK : complain(diag, shape, i, "is missing");
        const char *wrong = take_element(m, kind, &value);
        if (wrong)
            return complain(diag, shape, i, wrong);
    }
    return PL_OK;
}

/* What the message has beyond what is known is checked, and left out. */
static enum pl_err take_rest(struct pl_list *list)
{
    struct pl_value value;
    bool is_there = true;
    enum pl_err err = PL_OK;
    while (!err && is_there && list->scan.at <= list->scan.end)
        err = pl_list_next(list, &value, &is_there);
    if (!err && list->serializer == PL_SERIAL_JSON)
        pl_json_skip_space(&list->scan);
    return err ? err : list->scan.at == list->scan.end ? PL_OK : PL_MALFORMED;
}

static enum pl_err decode(struct pl_wamp *m, struct pl_bytes message, struct pl_diag *diag)
{
    struct pl_list list;
    struct pl_value value;
    bool is_there;
    uint64_t type;
    enum pl_err err = pl_list_enter(&list, m->serializer, message);
    if (!err)
        err = pl_list_next(&list, &value, &is_there);
    if (err)
        return err;
    if (!is_there || !pl_value_natural(&value, &type) || type > UINT32_MAX) {
        pl_diag_set(diag, 0, "a message begins with its type");
        return PL_MALFORMED;
    }
    m->type = (uint32_t)type;
    const struct shape *shape = find_shape(m->type);
    if (!shape) {
        pl_diag_set(diag, 0, "there is no message type %u", (unsigned)m->type);
        return PL_UNSUPPORTED;
    }
    err = take_elements(m, &list, shape, diag);
    return err ? err : take_rest(&list);
}

enum pl_err pl_wamp_decode(enum pl_serializer serializer, struct pl_bytes message,
    struct pl_wamp *out, struct pl_diag *diag)
{
    *out = (struct pl_wamp){.serializer = (uint8_t)serializer};
    if (diag)
        diag->text[0] = '\0';
    enum pl_err err = decode(out, message, diag);
    if (err == PL_NEED_MORE)
        err = PL_MALFORMED;
    if (err && diag && !diag->text[0])
        pl_diag_set(diag, 0, "not a message in this serializer");
    return err;
}

struct pl_value_writer pl_wamp_begin(
    struct pl_writer *w, enum pl_serializer serializer, enum pl_wamp_type type)
{
    struct pl_value_writer v = pl_value_writer(w, serializer);
    pl_put_list(&v);
    pl_put_natural(&v, type);
    return v;
}
