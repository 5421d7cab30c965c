/* WAMP clients by hand, in JSON: what they are answered, in which order, and when they are thrown
 * out. A line is a message. */
#include "check.h"

#include "protocols/rig.h"
#include "protocols/wamp/wamp.h"

#define HELLO                                                                                      \
    "[1,\"main\",{\"roles\":{\"publisher\":{},\"subscriber\":{},\"caller\":{},\"callee\":{}}}]\n"
#define HELLO_CAN_ALL                                                                              \
    "[1,\"main\",{\"roles\":{\"publisher\":{},\"subscriber\":{},\"caller\":{},\"callee\":{"        \
    "\"features\":{\"call_canceling\":true,\"call_timeout\":true,"                                 \
    "\"progressive_call_results\":true,\"progressive_call_invocations\":true}}}}]\n"

static struct rig rig;

static void begin(void)
{
    rig_init(&rig, 1);
    rig.framing = PL_FRAMING_MESSAGES;
    rig.subprotocol = "wamp.2.json";
}

static struct rig_peer *peer(const char *hello)
{
    struct rig_peer *p = rig_open(&rig, &pl_wamp_protocol, 0);
    const char *welcome = rig_ask(p, hello);
    CHECK(strncmp(welcome, "[2,", 3) == 0);
    CHECK(strstr(welcome, "\"realm\":\"main\"") != NULL);
    rig_clear(p);
    return p;
}

/* The number behind `before`, which stands at *at; moves *at behind the number. */
static unsigned long long number_at(const char **at, const char *before)
{
    size_t len = strlen(before);
    if (!CHECK(strncmp(*at, before, len) == 0))
        return 0;
    char *end;
    unsigned long long number = strtoull(*at + len, &end, 10);
    CHECK(number > 0);
    *at = end;
    return number;
}

static unsigned long long id_in(const struct rig_peer *p, const char *before)
{
    const char *at = p->got;
    return number_at(&at, before);
}

__attribute__((format(printf, 2, 3))) static void say(struct rig_peer *p, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    rig_clear(p);
    rig_write(p, text);
    rig_run(&rig);
}

__attribute__((format(printf, 3, 4))) static void check_heard(
    struct rig_peer *p, int line, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)check_text(p->got, text, __FILE__, line, "what it heard");
    rig_clear(p);
}

#define HEARD(p, ...) check_heard((p), __LINE__, __VA_ARGS__)

/* One message, an ABORT with this reason, and the end. */
static bool was_aborted(const struct rig_peer *p, const char *uri)
{
    char tail[128];
    int len = snprintf(tail, sizeof tail, "},\"%s\"]\n", uri);
    const char *end = strchr(p->got, '\n');
    return p->is_closed && strncmp(p->got, "[3,{", 4) == 0 && end == p->got + p->got_len - 1 &&
           (int)p->got_len > len && strcmp(p->got + p->got_len - (size_t)len, tail) == 0;
}

/* ---- The end ---- */

TEST(whoever_does_not_begin_with_hello_is_thrown_out)
{
    static const char *const first[] = {"[16,1,{},\"a\"]\n", "[5,\"\",{}]\n", "[6,{},\"x.y\"]\n",
        "[2,1,{}]\n", "[48,1,{},\"a\"]\n", "nonsense\n", "[]\n", "[1]\n", "[1,\"main\"]\n"};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        begin();
        struct rig_peer *p = rig_open(&rig, &pl_wamp_protocol, 0);
        rig_ask(p, first[i]);
        if (!CHECK(was_aborted(p, "wamp.error.protocol_violation")))
            printf("    %s    %s", first[i], p->got);
        rig_done(&rig);
    }
}

TEST(a_client_has_a_role)
{
    begin();
    struct rig_peer *p = rig_open(&rig, &pl_wamp_protocol, 0);
    rig_ask(p, "[1,\"main\",{\"roles\":{\"broker\":{}}}]\n");
    CHECK(was_aborted(p, "wamp.error.no_such_role"));
    rig_done(&rig);
}

TEST(each_violation_is_an_abort_and_the_end)
{
    static const char *const said[] = {HELLO, "[2,1,{}]\n", "[4,\"ticket\",{}]\n",
        "[5,\"secret\",{}]\n", "[17,1,1]\n", "[33,1,1]\n", "[35,1]\n", "[36,1,1,{}]\n",
        "[50,1,{}]\n", "[65,1,1]\n", "[67,1]\n", "[68,1,1,{}]\n", "[69,1,{}]\n",
        "[8,48,1,{},\"a.b\"]\n", "[8,32,1,{},\"a.b\"]\n", "[70,1,{}]\n", "[8,68,1,{},\"a.b\"]\n",
        "[7,1,1]\n", "[37,1,1]\n", "[999]\n", "{}\n", "1\n", "\"x\"\n", "[]\n", "[\"x\"]\n",
        "nonsense\n", "[16,1,{},\"a\"\n", "[16,1,{},\"a\"]]\n", "\n", "[16,1,[],\"a\"]\n",
        "[16,1,{},7]\n", "[16,1,{}]\n", "[16,\"1\",{},\"a\"]\n", "[16,-1,{},\"a\"]\n",
        "[16,1.5,{},\"a\"]\n", "[16,9007199254740993,{},\"a\"]\n", "[16,0,{},\"a\"]\n",
        "[32,0,{},\"a\"]\n", "[48,0,{},\"a\"]\n", "[16,1,{},\"a\",{}]\n", "[16,1,{},\"a\",[],[]]\n",
        "[16,1,{},\"\xff\"]\n"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        begin();
        struct rig_peer *p = peer(HELLO), *other = peer(HELLO);
        say(other, "[32,1,{},\"a\"]\n");
        rig_clear(other);
        /* What comes behind it is not read any more. */
        say(p, "%s[16,7,{\"acknowledge\":true},\"a\"]\n", said[i]);
        if (!CHECK(was_aborted(p, "wamp.error.protocol_violation")))
            printf("    %s    %s", said[i], p->got);
        CHECK_EQ(p->why, PL_PROTOCOL);
        HEARD(other, "%s", "");
        rig_done(&rig);
    }
}

TEST(who_was_thrown_out_is_gone_for_all)
{
    begin();
    struct rig_peer *p = peer(HELLO), *other = peer(HELLO);
    say(p, "[64,1,{},\"p.q\"]\n");
    say(other, "[48,1,{},\"p.q\"]\n");
    say(p, "[]\n");
    HEARD(other, "[8,48,1,{},\"wamp.error.canceled\",[\"callee gone\"]]\n");
    say(other, "[48,2,{},\"p.q\"]\n");
    HEARD(other, "[8,48,2,{},\"wamp.error.no_such_procedure\"]\n");
    rig_done(&rig);
}

TEST(nothing_follows_an_abort_not_even_an_answer)
{
    begin();
    rig.framing = PL_FRAMING_STREAM;
    rig.subprotocol = NULL;
    static const char hello[] = "[1,\"main\",{\"roles\":{\"caller\":{}}}]";
    static const char said[] = "\0\0\0\015[32,1,{},\"a\"]\0\0\0\002[]";
    struct rig_peer *p = rig_open(&rig, &pl_wamp_protocol, 0);
    rig_send(p, "\x7f\xf1\0\0\0\0\0", 7);
    rig_send(p, &(uint8_t){sizeof hello - 1}, 1);
    rig_send(p, hello, sizeof hello - 1);
    rig_run(&rig);
    rig_clear(p);
    /* Both in one read: SUBSCRIBED would come at the end of the turn. */
    rig_send(p, said, sizeof said - 1);
    rig_run(&rig);
    CHECK(p->is_closed);
    REQUIRE(p->got_len > 4);
    CHECK_EQ((uint8_t)p->got[3], p->got_len - 4);
    CHECK(strncmp(p->got + 4, "[3,", 3) == 0);
    rig_done(&rig);
}

TEST(request_ids_are_counted_where_that_is_wanted)
{
    struct pl_wamp_options strict = pl_wamp_options_default;
    strict.strict_ids = true;
    begin();
    rig.config.options = &strict;
    struct rig_peer *p = peer(HELLO);
    say(p, "[16,1,{},\"a\"]\n[16,2,{\"acknowledge\":true},\"a..b\"]\n");
    HEARD(p, "[8,16,2,{},\"wamp.error.invalid_uri\"]\n");
    say(p, "[16,4,{},\"a\"]\n");
    CHECK(was_aborted(p, "wamp.error.protocol_violation"));
    rig_done(&rig);
}

TEST(a_goodbye_is_answered_behind_all_that_was_asked_for)
{
    begin();
    struct rig_peer *p = peer(HELLO);
    say(p, "[48,1,{},\"p.q\"]\n[16,2,{\"acknowledge\":true},\"a..b\"]\n"
           "[6,{},\"wamp.close.normal\"]\n[48,3,{},\"p.q\"]\n");
    HEARD(p, "[8,48,1,{},\"wamp.error.no_such_procedure\"]\n"
             "[8,16,2,{},\"wamp.error.invalid_uri\"]\n"
             "[6,{},\"wamp.close.goodbye_and_out\"]\n");
    CHECK(p->is_closed);
    CHECK_EQ(p->why, PL_OK);
    rig_done(&rig);
}

TEST(an_abort_of_the_client_is_not_answered)
{
    begin();
    struct rig_peer *p = peer(HELLO);
    say(p, "[3,{},\"a.b\"]\n");
    HEARD(p, "%s", "");
    CHECK(p->is_closed);
    rig_done(&rig);
}

TEST(a_login_does_not_take_forever)
{
    begin();
    struct rig_peer *p = rig_open(&rig, &pl_wamp_protocol, 0);
    rig_pass(&rig, rig.config.login_ms - 1);
    CHECK(!p->is_closed);
    rig_pass(&rig, 1);
    CHECK(was_aborted(p, "wamp.error.authentication_failed"));
    rig_done(&rig);
}

TEST(the_end_of_the_server_is_told)
{
    begin();
    struct rig_peer *p = peer(HELLO);
    pl_wamp_protocol.drain(p->link);
    rig_run(&rig);
    HEARD(p, "[6,{},\"wamp.close.system_shutdown\"]\n");
    CHECK(p->is_closed);
    rig_done(&rig);
}

/* ---- Logins ---- */

static void login(
    void *context, struct pl_session *session, const struct pl_credentials *shown, uint64_t token)
{
    static struct pl_challenge challenge;
    struct pl_identity *identity = NULL;
    enum pl_err err = PL_BAD_LOGIN;
    (void)context;
    challenge.method = PL_BYTES("ticket");
    session->challenge = &challenge;
    if (!shown->is_response)
        err = PL_CHALLENGED;
    else if (pl_bytes_equal(shown->response, PL_BYTES("secret")))
        err = (identity = pl_identity_new_all("ann", "all")) ? PL_OK : PL_NO_MEMORY;
    pl_worker_logged_in(session->worker, session, err, identity, rig.realm, token);
}

TEST(a_challenge_is_answered_by_authenticate_and_nothing_else)
{
    static const struct {
        const char *said, *uri;
    } cases[] = {{"[5,\"secret\",{}]\n", NULL},
        {"[5,\"wrong\",{}]\n", "wamp.error.authentication_failed"},
        {"[48,1,{},\"a\"]\n", "wamp.error.protocol_violation"},
        {HELLO, "wamp.error.protocol_violation"}, {"[]\n", "wamp.error.protocol_violation"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin();
        rig.hooks.login = login;
        struct rig_peer *p = rig_open(&rig, &pl_wamp_protocol, 0);
        CHECK_STR(rig_ask(p, HELLO), "[4,\"ticket\",{}]\n");
        rig_ask(p, cases[i].said);
        if (cases[i].uri)
            CHECK(was_aborted(p, cases[i].uri));
        else
            CHECK(strncmp(p->got, "[2,", 3) == 0 && strstr(p->got, "\"authid\":\"ann\""));
        rig_done(&rig);
    }
}

/* ---- Errors ---- */

TEST(each_bad_request_gets_its_error_with_its_type)
{
    static const struct {
        const char *said, *heard;
    } cases[] = {
        {"[32,1,{},\"a..b\"]\n", "[8,32,1,{},\"wamp.error.invalid_uri\"]\n"},
        {"[32,1,{},\"a b\"]\n", "[8,32,1,{},\"wamp.error.invalid_uri\"]\n"},
        {"[32,1,{\"match\":\"x\"},\"a\"]\n",
            "[8,32,1,{},\"wamp.error.invalid_argument\",[\"unknown match\"]]\n"},
        {"[34,1,99]\n", "[8,34,1,{},\"wamp.error.no_such_subscription\"]\n"},
        {"[64,1,{},\"a#\"]\n", "[8,64,1,{},\"wamp.error.invalid_uri\"]\n"},
        {"[64,1,{},\"\"]\n", "[8,64,1,{},\"wamp.error.invalid_uri\"]\n"},
        {"[64,1,{},\"wamp.x\"]\n", "[8,64,1,{},\"wamp.error.invalid_uri\"]\n"},
        {"[64,1,{\"match\":\"prefix\"},\"wamp.\"]\n", "[8,64,1,{},\"wamp.error.invalid_uri\"]\n"},
        {"[64,1,{\"match\":\"x\"},\"a\"]\n",
            "[8,64,1,{},\"wamp.error.invalid_argument\",[\"unknown match\"]]\n"},
        {"[64,1,{\"invoke\":\"x\"},\"a\"]\n",
            "[8,64,1,{},\"wamp.error.invalid_argument\",[\"unknown invocation policy\"]]\n"},
        {"[64,1,{},\"taken\"]\n", "[8,64,1,{},\"wamp.error.procedure_already_exists\"]\n"},
        {"[64,1,{\"invoke\":\"random\"},\"taken\"]\n",
            "[8,64,1,{},\"wamp.error.procedure_already_exists\"]\n"},
        {"[66,1,99]\n", "[8,66,1,{},\"wamp.error.no_such_registration\"]\n"},
        {"[48,1,{},\"nothing\"]\n", "[8,48,1,{},\"wamp.error.no_such_procedure\"]\n"},
        {"[48,1,{},\".a\"]\n", "[8,48,1,{},\"wamp.error.invalid_uri\"]\n"},
        {"[49,1,{\"mode\":\"x\"}]\n",
            "[8,49,1,{},\"wamp.error.invalid_argument\",[\"unknown mode\"]]\n"},
        {"[16,1,{\"acknowledge\":true},\"a..b\"]\n", "[8,16,1,{},\"wamp.error.invalid_uri\"]\n"},
        {"[49,1,{}]\n", ""},
        {"[49,1,{\"mode\":\"kill\"}]\n", ""},
        {"[16,1,{},\"a..b\"]\n", ""},
        {"[16,1,{},\"a\"]\n", ""},
        {"[16,1,{\"acknowledge\":false},\"a\"]\n", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin();
        struct rig_peer *p = peer(HELLO), *other = peer(HELLO);
        say(other, "[64,1,{},\"taken\"]\n");
        say(p, "%s", cases[i].said);
        CHECK_STR(p->got, cases[i].heard);
        CHECK(!p->is_closed);
        rig_done(&rig);
    }
}

/* Nobody may do anything. */
static struct pl_identity *identify_powerless(struct rig *r, const struct pl_credentials *shown)
{
    (void)r, (void)shown;
    struct pl_identity *identity = pl_identity_new();
    if (identity)
        identity->expires_unix_ms = PL_NEVER;
    return identity;
}

TEST(who_may_not_is_told_so)
{
    begin();
    rig.identify = identify_powerless;
    struct rig_peer *p = peer(HELLO);
    say(p, "[16,1,{\"acknowledge\":true},\"a\"]\n");
    HEARD(p, "[8,16,1,{},\"wamp.error.not_authorized\"]\n");
    say(p, "[32,2,{},\"a\"]\n");
    HEARD(p, "[8,32,2,{},\"wamp.error.not_authorized\"]\n");
    say(p, "[64,3,{},\"a\"]\n");
    HEARD(p, "[8,64,3,{},\"wamp.error.not_authorized\"]\n");
    say(p, "[48,4,{},\"a\"]\n");
    HEARD(p, "[8,48,4,{},\"wamp.error.not_authorized\"]\n");
    say(p, "[16,5,{},\"a\"]\n");
    HEARD(p, "%s", "");
    rig_done(&rig);
}

TEST(what_the_router_tells_nobody_else_says)
{
    begin();
    struct rig_peer *p = peer(HELLO), *other = peer(HELLO);
    say(other, "[32,1,{\"match\":\"prefix\"},\"wamp\"]\n[32,2,{},\"wamp.session.on_join\"]\n");
    rig_clear(other);
    say(p, "[16,1,{\"acknowledge\":true},\"wamp.session.on_join\",[{}]]\n"
           "[16,2,{},\"wamp.session.on_leave\",[1]]\n");
    CHECK(strncmp(p->got, "[8,16,1,{},\"wamp.error.", 23) == 0);
    CHECK(!p->is_closed);
    HEARD(other, "%s", "");
    rig_done(&rig);
}

TEST(what_is_anothers_is_not_there)
{
    begin();
    struct rig_peer *p = peer(HELLO), *other = peer(HELLO);
    say(other, "[32,1,{},\"a\"]\n");
    unsigned long long subscription = id_in(other, "[33,1,");
    say(other, "[64,2,{},\"p\"]\n");
    unsigned long long registration = id_in(other, "[65,2,");
    say(p, "[34,1,%llu]\n[66,2,%llu]\n", subscription, registration);
    HEARD(p, "[8,34,1,{},\"wamp.error.no_such_subscription\"]\n"
             "[8,66,2,{},\"wamp.error.no_such_registration\"]\n");
    say(other, "[34,3,%llu]\n[66,4,%llu]\n[34,5,%llu]\n", subscription, registration, subscription);
    HEARD(other, "[35,3]\n[67,4]\n[8,34,5,{},\"wamp.error.no_such_subscription\"]\n");
    rig_done(&rig);
}

/* ---- Order ---- */

TEST(subscribed_stands_before_the_first_event_and_registered_before_the_first_invocation)
{
    begin();
    struct rig_peer *p = peer(HELLO);
    say(p, "[32,1,{},\"a\"]\n[16,2,{\"exclude_me\":false},\"a\",[7]]\n"
           "[64,3,{},\"p\"]\n[48,4,{},\"p\",[8]]\n");
    const char *at = p->got;
    unsigned long long subscription = number_at(&at, "[33,1,");
    CHECK_EQ(number_at(&at, "]\n[36,"), subscription);
    (void)number_at(&at, ",");
    unsigned long long registration = number_at(&at, ",{},[7]]\n[65,3,");
    CHECK_EQ(number_at(&at, "]\n[68,1,"), registration);
    CHECK_STR(at, ",{},[8]]\n");
    rig_done(&rig);
}

TEST(an_event_does_not_come_back_unless_that_is_wanted)
{
    begin();
    struct rig_peer *p = peer(HELLO);
    say(p, "[32,1,{},\"a\"]\n");
    say(p, "[16,2,{},\"a\"]\n");
    HEARD(p, "%s", "");
    say(p, "[16,3,{\"acknowledge\":true,\"exclude_me\":false},\"a\",[1],{\"k\":2}]\n");
    CHECK(strstr(p->got, ",{},[1],{\"k\":2}]\n") != NULL);
    CHECK(strstr(p->got, "[17,3,") != NULL);
    rig_done(&rig);
}

/* ---- Calls ---- */

TEST(a_callee_gets_what_it_said_that_it_can)
{
    begin();
    struct rig_peer *can = peer(HELLO_CAN_ALL), *caller = peer(HELLO);
    say(can, "[64,1,{\"forward_timeout\":true},\"p\"]\n");
    unsigned long long id = id_in(can, "[65,1,");
    rig_clear(can);
    say(caller, "[48,1,{\"receive_progress\":true,\"timeout\":5000,\"progress\":true},\"p\",[1]]\n"
                "[48,1,{},\"p\",[2]]\n[49,1,{\"mode\":\"kill\"}]\n");
    HEARD(can,
        "[68,1,%llu,{\"receive_progress\":true,\"progress\":true,\"timeout\":5000},[1]]\n"
        "[68,1,%llu,{\"receive_progress\":true,\"timeout\":5000},[2]]\n"
        "[69,1,{\"mode\":\"kill\",\"reason\":\"wamp.error.canceled\"}]\n",
        id, id);
    say(can, "[70,1,{\"progress\":true},[3]]\n[8,68,1,{},\"wamp.error.canceled\"]\n");
    HEARD(caller, "[50,1,{\"progress\":true},[3]]\n[8,48,1,{},\"wamp.error.canceled\"]\n");
    rig_done(&rig);
}

TEST(a_callee_without_features_is_asked_plainly_and_never_interrupted)
{
    begin();
    struct rig_peer *plain = peer(HELLO), *caller = peer(HELLO);
    say(plain, "[64,1,{\"forward_timeout\":true},\"p\"]\n");
    unsigned long long id = id_in(plain, "[65,1,");
    rig_clear(plain);
    say(caller, "[48,1,{\"receive_progress\":true,\"timeout\":5000},\"p\"]\n");
    HEARD(plain, "[68,1,%llu,{}]\n", id);
    say(caller, "[49,1,{\"mode\":\"kill\"}]\n");
    HEARD(caller, "[8,48,1,{},\"wamp.error.canceled\"]\n");
    say(caller, "[48,2,{\"timeout\":5000},\"p\"]\n");
    rig_pass(&rig, 5000);
    HEARD(caller, "[8,48,2,{},\"wamp.error.timeout\",[\"call timeout\"]]\n");
    say(caller, "[48,3,{\"progress\":true},\"p\"]\n[48,3,{},\"p\"]\n");
    HEARD(caller, "[8,48,3,{},\"wamp.error.feature_not_supported\"]\n");
    HEARD(plain, "[68,2,%llu,{}]\n", id);
    rig_done(&rig);
}

TEST(an_answer_that_comes_late_is_ignored)
{
    begin();
    struct rig_peer *callee = peer(HELLO_CAN_ALL), *caller = peer(HELLO), *gone = peer(HELLO);
    say(callee, "[64,1,{},\"p\"]\n");
    say(caller, "[48,1,{},\"p\"]\n[48,2,{},\"p\"]\n[48,3,{\"timeout\":9},\"p\"]\n");
    say(gone, "[48,1,{},\"p\"]\n");
    say(callee, "[70,1,{}]\n[70,1,{}]\n[8,68,1,{},\"e.x\"]\n");
    HEARD(caller, "[50,1,{}]\n");
    say(caller, "[49,2,{\"mode\":\"skip\"}]\n[49,2,{}]\n[49,1,{}]\n");
    HEARD(caller, "[8,48,2,{},\"wamp.error.canceled\"]\n");
    rig_pass(&rig, 9);
    HEARD(caller, "[8,48,3,{},\"wamp.error.timeout\",[\"call timeout\"]]\n");
    rig_cut(gone);
    rig_run(&rig);
    rig_clear(callee);
    say(callee, "[70,2,{}]\n[70,3,{},[1]]\n[8,68,4,{},\"e.x\"]\n[70,2,{\"progress\":true}]\n");
    HEARD(callee, "%s", "");
    HEARD(caller, "%s", "");
    CHECK(!callee->is_closed && !caller->is_closed);
    rig_done(&rig);
}

TEST(a_call_that_is_over_takes_no_further_part)
{
    begin();
    struct rig_peer *callee = peer(HELLO_CAN_ALL), *caller = peer(HELLO);
    say(callee, "[64,1,{},\"p\"]\n");
    say(caller, "[48,1,{\"progress\":true},\"p\",[1]]\n");
    say(callee, "[70,1,{},[\"early\"]]\n");
    HEARD(caller, "[50,1,{},[\"early\"]]\n");
    rig_clear(callee);
    say(caller, "[48,1,{\"progress\":true},\"p\",[2]]\n[48,1,{},\"p\",[3]]\n");
    HEARD(caller, "%s", "");
    HEARD(callee, "%s", "");
    CHECK(!caller->is_closed);
    rig_done(&rig);
}

TEST(an_unavailable_callee_hands_the_call_on)
{
    begin();
    struct rig_peer *one = peer(HELLO), *two = peer(HELLO), *caller = peer(HELLO);
    say(one, "[64,1,{\"invoke\":\"first\"},\"p\"]\n");
    unsigned long long id = id_in(one, "[65,1,");
    say(two, "[64,1,{\"invoke\":\"first\"},\"p\"]\n");
    HEARD(two, "[65,1,%llu]\n", id);
    say(caller, "[48,1,{},\"p\",[1]]\n");
    say(one, "[8,68,1,{},\"wamp.error.unavailable\"]\n");
    HEARD(two, "[68,1,%llu,{},[1]]\n", id);
    say(two, "[8,68,1,{},\"wamp.error.unavailable\"]\n");
    HEARD(caller, "[8,48,1,{},\"wamp.error.no_available_callee\"]\n");
    rig_done(&rig);
}

TEST(an_error_of_the_callee_comes_with_its_arguments)
{
    begin();
    struct rig_peer *callee = peer(HELLO), *caller = peer(HELLO);
    say(callee, "[64,1,{},\"p\"]\n");
    say(caller, "[48,1,{},\"p\"]\n");
    say(callee, "[8,68,1,{},\"app.error\",[1,\"two\"],{\"k\":3}]\n");
    HEARD(caller, "[8,48,1,{},\"app.error\",[1,\"two\"],{\"k\":3}]\n");
    rig_done(&rig);
}

TEST(a_forced_registration_tells_who_can_hear_it)
{
    begin();
    struct rig_peer *deaf = peer(HELLO), *now = peer(HELLO), *caller = peer(HELLO);
    say(deaf, "[64,1,{},\"p\"]\n");
    unsigned long long id = id_in(deaf, "[65,1,");
    rig_clear(deaf);
    say(now, "[64,1,{\"force_reregister\":true},\"p\"]\n");
    HEARD(deaf, "%s", "");
    say(deaf, "[66,2,%llu]\n", id);
    HEARD(deaf, "[8,66,2,{},\"wamp.error.no_such_registration\"]\n");
    rig_clear(now);
    say(caller, "[48,1,{},\"p\"]\n");
    CHECK(strncmp(now->got, "[68,1,", 6) == 0);
    rig_done(&rig);
}
