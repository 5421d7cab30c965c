#include "check.h"

#include "base/alloc.h"
#include "core/audience.h"
#include "core/caller.h"

static const struct pl_bytes *texts_of(const char *text)
{
    static struct pl_bytes texts[2];
    texts[0] = PL_BYTES("other");
    texts[1] = pl_bytes_text(text);
    return texts;
}

static bool admits(struct pl_audience_list list, const struct pl_session *s)
{
    const struct pl_audience audience = {.lists = &list, .count = 1};
    return pl_audience_admits(&audience, s);
}

/* A session "bob" of the role "worker", whose attribute "site" is "north". */
struct someone {
    struct world w;
    struct probe *p;
    struct pl_attribute attribute;
};

static void someone_init(struct someone *o)
{
    world_init(&o->w, 1);
    pl_identity_unref(o->w.identity);
    o->w.identity = pl_identity_new_all("bob", "worker");
    o->p = caller_new(&o->w, 0);
    o->attribute = (struct pl_attribute){PL_BYTES("site"), PL_BYTES("north")};
    o->p->core.attributes = &o->attribute;
    o->p->core.attribute_count = 1;
}

static void someone_done(struct someone *o)
{
    o->p->core.attribute_count = 0;
    probe_gone(o->p, NULL);
    world_done(&o->w);
}

TEST(a_list_of_each_kind_names_whom_it_means)
{
    static const struct {
        uint8_t kind;
        const char *name, *text;
        bool is_named;
    } cases[] = {{PL_AUDIENCE_USER, "", "bob", true}, {PL_AUDIENCE_USER, "", "ann", false},
        {PL_AUDIENCE_ROLE, "", "worker", true}, {PL_AUDIENCE_ROLE, "", "bob", false},
        {PL_AUDIENCE_ATTRIBUTE, "site", "north", true},
        {PL_AUDIENCE_ATTRIBUTE, "site", "south", false},
        {PL_AUDIENCE_ATTRIBUTE, "sites", "north", false}};
    struct someone o;
    someone_init(&o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pl_audience_list list = {.kind = cases[i].kind,
            .count = 2,
            .name = pl_bytes_text(cases[i].name),
            .texts = texts_of(cases[i].text)};
        CHECK_EQ(admits(list, &o.p->core), cases[i].is_named);
        list.is_excluded = true;
        CHECK_EQ(admits(list, &o.p->core), !cases[i].is_named);
    }
    uint64_t ids[] = {1, pl_session_public_id(&o.p->core)};
    struct pl_audience_list list = {.kind = PL_AUDIENCE_ID, .count = 2, .ids = ids};
    CHECK(admits(list, &o.p->core));
    list.count = 1;
    CHECK(!admits(list, &o.p->core));
    list.is_excluded = true;
    CHECK(admits(list, &o.p->core));
    someone_done(&o);
}

TEST(an_empty_list_of_the_eligible_is_nobody_and_one_of_the_excluded_is_nobody_too)
{
    struct someone o;
    someone_init(&o);
    CHECK(!admits((struct pl_audience_list){.kind = PL_AUDIENCE_ROLE}, &o.p->core));
    CHECK(admits(
        (struct pl_audience_list){.kind = PL_AUDIENCE_ROLE, .is_excluded = true}, &o.p->core));
    someone_done(&o);
}

TEST(all_lists_count_together)
{
    struct someone o;
    someone_init(&o);
    struct pl_audience_list lists[] = {
        {.kind = PL_AUDIENCE_ROLE, .count = 2, .texts = texts_of("worker")},
        {.kind = PL_AUDIENCE_ID, .is_excluded = true},
        {.kind = PL_AUDIENCE_ATTRIBUTE, .name = PL_BYTES("site"), .is_excluded = true}};
    struct pl_audience audience = {.lists = lists, .count = 3};
    CHECK(pl_audience_admits(&audience, &o.p->core));
    struct pl_bytes north = PL_BYTES("north");
    lists[2].texts = &north;
    lists[2].count = 1;
    CHECK(!pl_audience_admits(&audience, &o.p->core));
    CHECK(pl_audience_may_admit(&audience, &o.p->core)); /* attributes are not looked at */
    uint64_t id = pl_session_public_id(&o.p->core);
    lists[1].ids = &id;
    lists[1].count = 1;
    CHECK(!pl_audience_may_admit(&audience, &o.p->core));
    someone_done(&o);
}

TEST(whom_a_login_names_itself_is_known_by_that_name)
{
    struct someone o;
    someone_init(&o);
    o.p->core.name = PL_BYTES("own name");
    struct pl_bytes own = PL_BYTES("own name");
    CHECK(admits((struct pl_audience_list){.kind = PL_AUDIENCE_USER, .count = 1, .texts = &own},
        &o.p->core));
    someone_done(&o);
}

TEST(only_the_audience_receives_and_nothing_is_kept_that_is_for_sessions_of_now)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = caller_new(&w, 0), *b = caller_new(&w, 1), *late;
    struct probe_sub *of_a[] = {probe_subscribe(a, "t", (struct probe_sub_options){0}), NULL};
    struct probe_sub *of_b[] = {probe_subscribe(b, "t", (struct probe_sub_options){0}), NULL};
    world_run(&w);
    probe_clear(a);
    probe_clear(b);
    uint64_t id = pl_session_public_id(&b->core);
    const struct pl_audience_list list = {.kind = PL_AUDIENCE_ID, .count = 1, .ids = &id};
    const struct pl_audience audience = {.lists = &list, .count = 1, .names_sessions = true};
    const struct pl_properties p = {.expires_ms = PL_NEVER, .audience = &audience};
    struct pl_message draft = {
        .subject = PL_BYTES("t"), .payload = PL_BYTES("x"), .properties = &p, .retain = true};
    CHECK_EQ(probe_send(a, draft, 0), PL_OK);
    world_run(&w);
    HEARD(a, "");
    HEARD(b, "t=x; ");
    late = caller_new(&w, 0);
    struct probe_sub *of_late[] = {
        probe_subscribe(late, "t", (struct probe_sub_options){.replay = PL_REPLAY_RETAINED}), NULL};
    world_run(&w);
    HEARD(late, "sub ok; replayed ok; ");
    probe_gone(late, of_late);
    probe_gone(a, of_a);
    probe_gone(b, of_b);
    world_done(&w);
}
