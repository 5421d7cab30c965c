/* Mles members by hand: who comes in and who does not, what they are given, when they are dropped.
 * A line is a frame; binary ones begin with RIG_BINARY. */
#include "check.h"

#include "codec/mles.h"
#include "core/journal.h"
#include "protocols/mles/mles.h"
#include "protocols/rig.h"

#define PING "\x89\0"

static struct rig rig;
static struct pl_mles_options options;

static struct pl_identity *identify(struct rig *of, const struct pl_credentials *shown)
{
    (void)of;
    if (shown->has_shared_key && !shown->is_shared_key_right)
        return NULL;
    return pl_identity_new_all("", shown->shared_role ? shown->shared_role : "all");
}

static void begin(void)
{
    rig_init(&rig, 2);
    pl_realm_set_claims(
        rig.realm, &(struct pl_history_claims){.subjects = 100, .limit = 5, .age_ms = PL_NEVER});
    rig.identify = identify;
    rig.framing = PL_FRAMING_MESSAGES;
    rig.subprotocol = PL_MLES_SUBPROTOCOL;
    options = pl_mles_options_default;
    rig.config.options = &options;
}

static struct rig_peer *open_peer(uint32_t worker)
{
    return rig_open(&rig, &pl_mles_protocol, worker);
}

/* Of a first frame: what comes back. */
static struct rig_peer *peer(uint32_t worker, const char *header)
{
    struct rig_peer *p = open_peer(worker);
    rig_write(p, header);
    rig_run(&rig);
    return p;
}

static struct rig_peer *member(uint32_t worker, const char *uid)
{
    char header[128];
    (void)snprintf(header, sizeof header, "{\"uid\":\"%s\",\"channel\":\"room\"}\n", uid);
    struct rig_peer *p = peer(worker, header);
    CHECK(!p->is_closed);
    return p;
}

TEST(frames_go_to_the_other_members_as_they_are_and_never_back)
{
    begin();
    struct rig_peer *a = member(0, "ann"), *b = member(1, "bob"), *c = member(0, "cat");
    struct rig_peer *other = peer(0, "{\"uid\":\"ann\",\"channel\":\"other\"}\n");
    rig_clear(b);
    rig_clear(c);
    rig_write(a, "hello\n\2b\1n\n\n");
    rig_run(&rig);
    CHECK_STR(a->got, "");
    CHECK_STR(b->got, "hello\n\2b\1n\n\n");
    CHECK_STR(c->got, "hello\n\2b\1n\n\n");
    CHECK_STR(other->got, "");
    rig_done(&rig);
}

TEST(who_comes_later_is_given_what_was_said_and_who_came_before)
{
    begin();
    struct rig_peer *a = member(0, "ann");
    /* Frames behind the header need not wait for anything. */
    struct rig_peer *b = peer(1, "{ \"channel\":\"room\", \"uid\" : \"bob\",\"x\":[1] }\nfirst\n");
    CHECK_STR(b->got, "{\"uid\":\"ann\",\"channel\":\"room\"}\n");
    CHECK_STR(a->got, "first\n");
    rig_write(a, "\2second\n");
    rig_run(&rig);
    struct rig_peer *c = member(0, "cat");
    CHECK_STR(c->got, "{\"uid\":\"ann\",\"channel\":\"room\"}\n"
                      "{ \"channel\":\"room\", \"uid\" : \"bob\",\"x\":[1] }\nfirst\n\2second\n");
    rig_cut(a);
    rig_cut(b);
    rig_cut(c);
    rig_run(&rig);
    /* The newest five. */
    struct rig_peer *d = member(1, "dan");
    CHECK_STR(d->got, "{\"uid\":\"ann\",\"channel\":\"room\"}\n"
                      "{ \"channel\":\"room\", \"uid\" : \"bob\",\"x\":[1] }\nfirst\n\2second\n"
                      "{\"uid\":\"cat\",\"channel\":\"room\"}\n");
    rig_cut(d);
    rig_run(&rig);
    struct rig_peer *e = member(1, "dan");
    CHECK_STR(e->got, "{ \"channel\":\"room\", \"uid\" : \"bob\",\"x\":[1] }\nfirst\n\2second\n"
                      "{\"uid\":\"cat\",\"channel\":\"room\"}\n"
                      "{\"uid\":\"dan\",\"channel\":\"room\"}\n");
    rig_done(&rig);
}

TEST(a_bad_first_frame_is_refused_at_once_with_a_reason)
{
    static const struct {
        const char *frame, *reason;
        int code;
    } cases[] = {
        {"\2{\"uid\":\"a\",\"channel\":\"b\"}\n",
            "the first frame is text: a JSON object with uid and channel", 1003},
        {"hello\n", "the first frame is a JSON object with the strings uid and channel", 1008},
        {"\n", "the first frame is a JSON object with the strings uid and channel", 1008},
        {"{\"uid\":\"a\"}\n", "the first frame is a JSON object with the strings uid and channel",
            1008},
        {"[\"a\",\"b\",null]\n",
            "the first frame is a JSON object with the strings uid and channel", 1008},
        {"{\"uid\":\"\",\"channel\":\"b\"}\n", "uid and channel are ASCII and not empty", 1008},
        {"{\"uid\":\"a\",\"channel\":\"\xc3\xa4\"}\n", "uid and channel are ASCII and not empty",
            1008},
        {"{\"uid\":\"a\",\"channel\":\"b\",\"auth\":\"00\"}\n", "auth is wrong", 1008},
        {"{\"uid\":\"a\",\"channel\":\"b\",\"auth\":7}\n",
            "the first frame is a JSON object with the strings uid and channel", 1008},
    };
    begin();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig_peer *p = peer(0, cases[i].frame);
        CHECK(p->is_closed);
        CHECK_STR(p->diag, cases[i].reason);
        CHECK_EQ(p->code, cases[i].code);
        CHECK_STR(p->got, "");
    }
    rig_done(&rig);
}

TEST(names_have_a_limit_and_so_has_the_first_frame)
{
    static char frame[PL_MLES_HEADER_MAX + 100];
    begin();
    (void)snprintf(frame, sizeof frame, "{\"uid\":\"a\",\"channel\":\"%01024d\"}\n", 0);
    CHECK(!peer(0, frame)->is_closed);
    (void)snprintf(frame, sizeof frame, "{\"uid\":\"a\",\"channel\":\"%01025d\"}\n", 0);
    struct rig_peer *p = peer(0, frame);
    CHECK_STR(p->diag, "uid or channel is too long");
    CHECK_EQ(p->code, 1008);
    (void)snprintf(frame, sizeof frame, "{\"uid\":\"a\",\"channel\":\"b\",\"x\":\"%08170d\"}\n", 0);
    p = peer(0, frame);
    CHECK_STR(p->diag, "the first frame is too large");
    CHECK_EQ(p->code, 1009);
    rig_done(&rig);
}

TEST(the_key_lets_in_who_has_it_and_its_hash_is_shown_to_nobody)
{
    begin();
    options.has_key = true;
    options.key = PL_BYTES("secret-key");
    struct rig_peer *p =
        peer(0, "{\"uid\":\"alice\",\"channel\":\"example\",\"auth\":\"9b3b95527f7c2d80\"}\n");
    CHECK_STR(p->diag, "auth is missing or wrong");
    CHECK_EQ(p->code, 1008);
    p = peer(0, "{\"uid\":\"alice\",\"channel\":\"example\"}\n");
    CHECK_STR(p->diag, "auth is missing or wrong");
    p = peer(
        0, "{\"uid\":\"alice\", \"auth\" : \"+00B4A9A15CDD7C8094\",\"channel\":\"example\"}\n");
    CHECK(!p->is_closed);
    rig_cut(p);
    rig_run(&rig);
    options.key = PL_BYTES("");
    p = peer(0, "{\"auth\":\"9b3b95527f7c2d80\", \"uid\":\"alice\",\"channel\":\"example\"}\n");
    CHECK_STR(p->got, "{\"uid\":\"alice\",\"channel\":\"example\"}\n");
    options.has_key = false;
    p = peer(0, "{\"uid\":\"bob\",\"channel\":\"example\"}\n");
    CHECK_STR(p->got, "{\"uid\":\"alice\",\"channel\":\"example\"}\n"
                      "{\"uid\":\"alice\",\"channel\":\"example\"}\n");
    rig_done(&rig);
}

/* ---- One member of a name ---- */

TEST(a_second_member_of_a_name_is_refused_while_the_first_shows_a_sign_of_life)
{
    begin();
    struct rig_peer *a = member(0, "ann");
    struct rig_peer *again = peer(1, "{\"uid\":\"ann\",\"channel\":\"room\"}\nlost\n");
    CHECK(!again->is_closed);
    CHECK(a->got_len == 2 && memcmp(a->got, PING, 2) == 0);
    /* A third one does not wait behind it. */
    struct rig_peer *third = peer(0, "{\"uid\":\"ann\",\"channel\":\"room\"}\n");
    CHECK_STR(third->diag, "this uid is on the channel already");
    CHECK_EQ(third->code, 1008);
    a->bytes_in += 6; /* the pong */
    rig_pass(&rig, 50);
    CHECK(again->is_closed && !a->is_closed);
    CHECK_STR(again->diag, "this uid is on the channel already");
    CHECK_EQ(again->code, 1008);
    /* Another uid, and the same on another channel, are others. */
    CHECK(!peer(0, "{\"uid\":\"ann\",\"channel\":\"room2\"}\n")->is_closed);
    CHECK(!peer(0, "{\"uid\":\"annr\",\"channel\":\"oom\"}\n")->is_closed);
    rig_done(&rig);
}

TEST(a_mute_member_loses_its_name_to_who_comes_with_it_again)
{
    begin();
    struct rig_peer *a = member(0, "ann"), *b = member(0, "bob");
    struct rig_peer *again = peer(1, "{\"uid\":\"ann\",\"channel\":\"room\"}\nback\n");
    for (int i = 0; i < 19; i++)
        rig_pass(&rig, 100);
    CHECK(!a->is_closed && again->got_len == 0);
    rig_clear(b);
    rig_pass(&rig, 200);
    CHECK(a->is_closed && !again->is_closed);
    CHECK_STR(a->diag, "no sign of life, and this uid comes to the channel again");
    CHECK_STR(b->got, "back\n");
    CHECK_STR(again->got, "{\"uid\":\"ann\",\"channel\":\"room\"}\n"
                          "{\"uid\":\"bob\",\"channel\":\"room\"}\n");
    rig_done(&rig);
}

TEST(a_name_is_free_as_soon_as_its_member_has_gone)
{
    begin();
    struct rig_peer *a = member(0, "ann");
    rig_cut(a);
    struct rig_peer *again = member(1, "ann");
    CHECK_STR(again->got, "{\"uid\":\"ann\",\"channel\":\"room\"}\n");
    /* And who waits for it gets it in that moment. */
    struct rig_peer *waits = peer(0, "{\"uid\":\"ann\",\"channel\":\"room\"}\n");
    CHECK_STR(waits->got, "");
    rig_cut(again);
    rig_run(&rig);
    CHECK_STR(waits->got, "{\"uid\":\"ann\",\"channel\":\"room\"}\n"
                          "{\"uid\":\"ann\",\"channel\":\"room\"}\n");
    rig_done(&rig);
}

/* ---- Time ---- */

TEST(who_says_nothing_is_closed_after_the_header_timeout)
{
    begin();
    struct rig_peer *p = open_peer(0);
    for (int i = 0; i < 8; i++) {
        p->bytes_in += 6; /* pongs are no header */
        rig_pass(&rig, 11000);
    }
    CHECK(!p->is_closed);
    rig_pass(&rig, 2000);
    CHECK(p->is_closed);
    CHECK_STR(p->diag, "no first frame came");
    CHECK_EQ(p->code, 1008);
    rig_done(&rig);
}

TEST(a_member_is_pinged_and_dropped_when_a_fourth_ping_is_due)
{
    begin();
    struct rig_peer *a = member(0, "ann"), *b = member(0, "bob");
    rig_clear(b);
    for (int i = 1; i <= 3; i++) {
        rig_pass(&rig, 24000);
        a->bytes_in += 6;
        CHECK_EQ(b->got_len, 2 * i);
    }
    CHECK(memcmp(b->got, PING PING PING, 6) == 0);
    CHECK(!b->is_closed);
    rig_pass(&rig, 24000);
    CHECK(b->is_closed && !a->is_closed);
    CHECK_STR(b->diag, "pings were not answered");
    rig_done(&rig);
}

TEST(a_member_that_reads_too_slowly_is_told_to_come_again_later)
{
    begin();
    rig.out_max = 1000;
    struct rig_peer *a = member(0, "ann"), *b = member(0, "bob");
    b->is_stuck = true;
    for (int i = 0; i < 30; i++) {
        rig_write(
            a, "one hundred bytes of text, more or less: 1234567890123456789012345678901234567\n");
        rig_run(&rig);
    }
    CHECK(b->is_closed && !a->is_closed);
    CHECK_EQ(b->code, 1013);
    rig_done(&rig);
}

/* ---- Subjects ---- */

struct tap {
    struct pl_session core;
    struct pl_subscription sub;
    char text[1024];
};

static void on_tap(struct pl_session *s, struct pl_subscription *sub, const struct pl_run *run)
{
    struct tap *tap = PL_CONTAINER(s, struct tap, core);
    (void)sub;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct pl_message *m = run->messages[i];
        size_t len = strlen(tap->text);
        (void)snprintf(tap->text + len, sizeof tap->text - len, "%.*s=%.*s/%u", (int)m->subject.len,
            (const char *)m->subject.data, (int)m->payload.len, (const char *)m->payload.data,
            m->format);
        for (uint32_t j = 0; m->properties && j < m->properties->header_count; j++) {
            const struct pl_header *h = &m->properties->headers[j];
            len = strlen(tap->text);
            (void)snprintf(tap->text + len, sizeof tap->text - len, " %.*s:%.*s", (int)h->name.len,
                (const char *)h->name.data, (int)h->value.len, (const char *)h->value.data);
        }
        (void)strncat(tap->text, "; ", sizeof tap->text - strlen(tap->text) - 1);
    }
}

static void on_done(struct pl_session *s, const struct pl_completion *done)
{
    (void)s, (void)done;
}

static const struct pl_session_ops tap_ops = {
    .name = "tap", .deliver = on_tap, .complete = on_done};

static void tap_open(struct tap *tap, const char *pattern)
{
    *tap = (struct tap){0};
    pl_session_init(&tap->core, &tap_ops, &rig.workers[0], NULL);
    pl_session_login(&tap->core, &(struct pl_credentials){.protocol = "tap"}, 0);
    rig_run(&rig);
    pl_session_join(&tap->core, 0);
    REQUIRE(pl_pattern_parse(pl_bytes_text(pattern), &tap->sub.pattern) == PL_OK);
    pl_session_subscribe(
        &tap->core, &tap->sub, &(struct pl_subscribe_options){.from_start = true}, 0);
    rig_run(&rig);
}

static void tap_publish(struct tap *tap, const char *payload, uint8_t format)
{
    struct pl_message draft = {
        .subject = PL_BYTES("mles.room"), .payload = pl_bytes_text(payload), .format = format};
    CHECK_EQ(pl_session_publish(&tap->core, &draft, NULL, 0, 0), PL_OK);
    rig_run(&rig);
}

static void tap_close(struct tap *tap)
{
    pl_session_leave(&tap->core, false);
    rig_run(&rig);
    pl_pattern_unref(tap->sub.pattern);
    pl_session_done(&tap->core);
}

TEST(other_protocols_hear_a_channel_as_a_subject_with_uid_and_kind_of_frame)
{
    struct tap tap;
    begin();
    options.prefix = PL_BYTES("mles.");
    struct rig_peer *a = member(0, "ann");
    rig_write(a, "early\n");
    rig_run(&rig);
    tap_open(&tap, "mles.>");
    rig_write(a, "\2late\n");
    rig_run(&rig);
    CHECK_STR(tap.text, "mles.room=early/1 mles-uid:ann mles-frame:text; "
                        "mles.room=late/0 mles-uid:ann mles-frame:binary; ");
    tap_publish(&tap, "bytes", PL_FORMAT_BYTES);
    tap_publish(&tap, "text", PL_FORMAT_TEXT);
    tap_publish(&tap, "no text \xff", PL_FORMAT_TEXT);
    tap_publish(&tap, "{\"a\":1}", PL_FORMAT_JSON);
    tap_publish(&tap, "[\"said\"]", PL_FORMAT_ARGUMENTS);
    tap_publish(&tap, "[\"\\u0000AQID\"]", PL_FORMAT_ARGUMENTS);
    CHECK_STR(a->got, "\2bytes\ntext\n\2no text \xff\n{\"a\":1}\nsaid\n\2\1\2\3\n");
    tap_close(&tap);
    rig_done(&rig);
}

TEST(members_of_equal_frames_share_them)
{
    begin();
    rig.framing = PL_FRAMING_WEBSOCKET;
    struct rig_peer *p = open_peer(0);
    CHECK(p->link && p->link->framing == PL_FRAMING_WEBSOCKET);
    /* Input of this framing comes as a stream from the rig; the header is a text frame. */
    size_t used;
    struct pl_bytes header = PL_BYTES("{\"uid\":\"ann\",\"channel\":\"room\"}");
    CHECK_EQ(p->protocol->receive(
                 p->link, (struct pl_input){.bytes = header, .kind = PL_INPUT_TEXT_FRAME}, &used),
        PL_OK);
    rig_run(&rig);
    rig.framing = PL_FRAMING_MESSAGES;
    struct rig_peer *b = member(0, "bob");
    rig_write(b, "hi\n\2yo\n");
    rig_run(&rig);
    CHECK_EQ(p->got_len, 8);
    CHECK(memcmp(p->got, "\x81\2hi\x82\2yo", 8) == 0);
    rig_done(&rig);
}

/* ---- The disk ---- */

static enum pl_err keep_nothing(void *context, const char *realm, struct pl_message *kept,
    const struct pl_times *now, uint64_t *out_ticket)
{
    (void)context, (void)realm, (void)kept, (void)now;
    *out_ticket = 0;
    return PL_STORE;
}

static void do_nothing(void *context)
{
    (void)context;
}

TEST(who_says_what_the_disk_does_not_take_is_told_so)
{
    static const struct pl_journal journal = {
        .hold = do_nothing, .release = do_nothing, .message = keep_nothing};
    struct pl_history_rule rule = {.limit = 10, .is_durable = true};
    begin();
    struct rig_peer *a = member(0, "ann"), *b = member(0, "bob");
    rig_clear(b);
    REQUIRE(pl_pattern_parse(PL_BYTES("disk"), &rule.pattern) == PL_OK);
    REQUIRE(pl_realm_add_history(rig.realm, rule) == PL_OK);
    pl_realm_set_journal(rig.realm, &journal);
    struct rig_peer *c = peer(0, "{\"uid\":\"cat\",\"channel\":\"disk\"}\n");
    struct rig_peer *d = peer(0, "{\"uid\":\"dan\",\"channel\":\"disk\"}\n");
    rig_write(c, "kept?\n");
    rig_write(a, "in memory\n");
    rig_run(&rig);
    CHECK_EQ(c->code, 1013);
    CHECK_STR(c->diag, "the store cannot keep it");
    CHECK(!d->is_closed);
    CHECK_STR(d->got, "");
    CHECK_STR(b->got, "in memory\n");
    rig_done(&rig);
}

static struct pl_identity *identify_reader(struct rig *of, const struct pl_credentials *shown)
{
    struct pl_pattern *pattern;
    struct pl_identity *identity = pl_identity_new();
    (void)of, (void)shown;
    if (!identity || pl_pattern_parse(PL_BYTES("room"), &pattern) ||
        pl_identity_add_pattern(identity, PL_SUBSCRIBE, false, pattern))
        return pl_identity_unref(identity);
    identity->expires_unix_ms = PL_NEVER;
    return identity;
}

TEST(rights_are_asked_as_of_everyone)
{
    begin();
    struct rig_peer *a = member(0, "ann");
    rig.identify = identify_reader;
    struct rig_peer *reader = member(0, "bob");
    rig_write(a, "news\n");
    rig_run(&rig);
    CHECK_STR(reader->got, "{\"uid\":\"ann\",\"channel\":\"room\"}\nnews\n");
    rig_write(reader, "mine\n");
    rig_run(&rig);
    CHECK_STR(reader->diag, "this channel is not for you to write to");
    CHECK_EQ(reader->code, 1008);
    struct rig_peer *p = peer(0, "{\"uid\":\"bob\",\"channel\":\"secret\"}\n");
    CHECK_STR(p->diag, "this channel is not for you");
    CHECK_STR(a->got, "");
    rig_done(&rig);
}
