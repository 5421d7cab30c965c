#include "core/audience.h"

#include "core/session.h"

static bool has_text(const struct pl_audience_list *list, struct pl_bytes text)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (pl_bytes_equal(list->texts[i], text))
            return true;
    return false;
}

static bool has_id(const struct pl_audience_list *list, const struct pl_session *s)
{
    uint64_t id = pl_session_public_id(s);
    for (uint32_t i = 0; i < list->count; i++)
        if (list->ids[i] == id)
            return true;
    return false;
}

static bool has_attribute(const struct pl_audience_list *list, const struct pl_session *s)
{
    for (uint32_t i = 0; i < s->attribute_count; i++)
        if (pl_bytes_equal(s->attributes[i].name, list->name))
            return has_text(list, s->attributes[i].value);
    return false;
}

static bool is_named(const struct pl_audience_list *list, const struct pl_session *s)
{
    switch ((enum pl_audience_kind)list->kind) {
    case PL_AUDIENCE_ID:
        return has_id(list, s);
    case PL_AUDIENCE_USER:
        return has_text(list, s->name.len ? s->name : s->identity->user);
    case PL_AUDIENCE_ROLE:
        return has_text(list, s->identity->role);
    case PL_AUDIENCE_ATTRIBUTE:
        return has_attribute(list, s);
    }
    return false;
}

static bool admits(
    const struct pl_audience *audience, const struct pl_session *s, bool looks_inside)
{
    for (uint32_t i = 0; i < audience->count; i++) {
        const struct pl_audience_list *list = &audience->lists[i];
        if (list->kind == PL_AUDIENCE_ATTRIBUTE && !looks_inside)
            continue;
        if (is_named(list, s) == list->is_excluded)
            return false;
    }
    return true;
}

bool pl_audience_admits(const struct pl_audience *audience, const struct pl_session *session)
{
    return admits(audience, session, true);
}

bool pl_audience_may_admit(const struct pl_audience *audience, const struct pl_session *session)
{
    return admits(audience, session, false);
}
