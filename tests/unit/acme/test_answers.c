/* What an authority may answer, and what is not believed. */
#include "acme/answers.h"

#include "base/alloc.h"
#include "check.h"

static struct pl_arena arena;
static struct pl_diag diag;

static void clear(void)
{
    pl_arena_done(&arena);
    diag.text[0] = 0;
}

TEST(a_directory_is_read)
{
    static const char body[] =
        "{\"newNonce\":\"https://a.test/n\",\"newAccount\":\"https://a.test/a\",\"x\":[{}],"
        "\"newOrder\":\"https://a.test/o\",\"meta\":{\"termsOfService\":\"https://a.test/t\"}}";
    struct pl_acme_directory d;
    CHECK_EQ(pl_acme_read_directory(pl_bytes_text(body), &arena, &d, &diag), PL_OK);
    CHECK_STR(d.new_nonce, "https://a.test/n");
    CHECK_STR(d.new_account, "https://a.test/a");
    CHECK_STR(d.new_order, "https://a.test/o");
    CHECK_STR(d.terms, "https://a.test/t");
    clear();
}

TEST(what_is_no_directory_is_refused_with_its_reason)
{
    static const struct {
        const char *body, *expected;
    } cases[] = {
        {"", "the authority's directory: is no JSON object"},
        {"<html>", "the authority's directory: is no JSON object"},
        {"[]", "the authority's directory: is no JSON object"},
        {"{}", "the authority's newNonce: is not there"},
        {"{\"newNonce\":null}", "the authority's newNonce: is not there"},
        {"{\"newNonce\":7}", "the authority's newNonce: expected an https:// address"},
        {"{\"newNonce\":\"http://a.test/\"}",
            "the authority's newNonce: expected an https:// address"},
        {"{\"newNonce\":\"https://a.test/\",\"newNonce\":\"https://a.test/\"}",
            "the authority's directory: is no JSON object"},
    };
    struct pl_acme_directory d;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_EQ(
            pl_acme_read_directory(pl_bytes_text(cases[i].body), &arena, &d, &diag), PL_MALFORMED);
        CHECK_STR(diag.text, cases[i].expected);
        clear();
    }
    char deep[400] = "", *at = deep;
    for (int i = 0; i < 60; i++)
        at += snprintf(at, 8, "{\"a\":");
    at += snprintf(at, 4, "1");
    memset(at, '}', 60);
    CHECK_EQ(pl_acme_read_directory(pl_bytes_text(deep), &arena, &d, &diag), PL_MALFORMED);
    clear();
}

TEST(addresses_are_https_and_hold_nothing_odd)
{
    static const char *const good[] = {
        "https://a", "https://a.test:14000/dir?x=1", "https://[::1]/"};
    static const char *const bad[] = {"", "https://", "https:///x", "http://a.test/", "HTTPS://a/",
        "https://a b/", "https://a\"/", "https://user@a.test/", "https://a.test/\r\nX: y",
        "https://\xc3\xa4.test/", "file:///etc/passwd"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(pl_acme_is_url(pl_bytes_text(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!pl_acme_is_url(pl_bytes_text(bad[i])));
    char longest[PL_ACME_URL_MAX + 2];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "https://", 8);
    CHECK(pl_acme_is_url(pl_bytes_of(longest, PL_ACME_URL_MAX)));
    CHECK(!pl_acme_is_url(pl_bytes_of(longest, PL_ACME_URL_MAX + 1)));
}

TEST(an_order_is_read_with_its_authorizations_and_its_problem)
{
    static const char body[] =
        "{\"status\":\"invalid\",\"finalize\":\"https://a.test/f\",\"certificate\":null,"
        "\"authorizations\":[\"https://a.test/1\",\"https://a.test/2\"],"
        "\"error\":{\"type\":\"urn:ietf:params:acme:error:badCSR\",\"detail\":\"too old\"}}";
    struct pl_acme_order o;
    CHECK_EQ(pl_acme_read_order(pl_bytes_text(body), &arena, &o, &diag), PL_OK);
    CHECK_EQ(o.status, PL_ACME_INVALID);
    CHECK_EQ(o.authorization_count, 2);
    CHECK_STR(o.authorizations[1], "https://a.test/2");
    CHECK(o.certificate == NULL);
    CHECK_STR(o.problem.type, "badCSR");
    CHECK_STR(o.problem.detail, "too old");
    clear();
}

TEST(an_order_without_what_it_needs_is_refused)
{
    static const char *const bodies[] = {
        "{\"status\":\"pending\",\"finalize\":\"https://a.test/f\",\"authorizations\":[]}",
        "{\"status\":\"pending\",\"finalize\":\"https://a.test/f\",\"authorizations\":{}}",
        "{\"status\":\"pending\",\"finalize\":\"https://a.test/f\",\"authorizations\":[1]}",
        "{\"status\":\"pending\",\"authorizations\":[\"https://a.test/1\"]}",
        "{\"status\":\"done\",\"finalize\":\"https://a.test/f\","
        "\"authorizations\":[\"https://a.test/1\"]}",
        "{\"finalize\":\"https://a.test/f\",\"authorizations\":[\"https://a.test/1\"]}",
        "{\"status\":\"valid\",\"finalize\":\"https://a.test/f\","
        "\"authorizations\":[\"https://a.test/1\"]}",
    };
    struct pl_acme_order o;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        CHECK_EQ(pl_acme_read_order(pl_bytes_text(bodies[i]), &arena, &o, &diag), PL_MALFORMED);
        CHECK(diag.text[0] != 0);
        clear();
    }
    char many[8000] = "{\"status\":\"pending\",\"finalize\":\"https://a.test/f\","
                      "\"authorizations\":[\"https://a.test/1\"";
    for (int i = 0; i < PL_ACME_AUTHORIZATIONS_MAX; i++)
        strncat(many, ",\"https://a.test/2\"", sizeof many - strlen(many) - 1);
    strncat(many, "]}", sizeof many - strlen(many) - 1);
    CHECK_EQ(pl_acme_read_order(pl_bytes_text(many), &arena, &o, &diag), PL_MALFORMED);
    CHECK_STR(diag.text, "the authority's authorizations: are too many");
    clear();
}

TEST(the_challenge_that_is_wanted_is_found)
{
    static const char body[] =
        "{\"status\":\"pending\",\"identifier\":{\"type\":\"dns\",\"value\":\"a.test\"},"
        "\"challenges\":[{\"type\":\"dns-01\"},"
        "{\"type\":\"http-01\",\"url\":\"https://a.test/h\",\"token\":\"Ab-_9\"},"
        "{\"type\":\"tls-alpn-01\",\"url\":\"https://a.test/t\",\"token\":\"../x\"}]}";
    struct pl_acme_authorization z;
    CHECK_EQ(pl_acme_read_authorization(pl_bytes_text(body), "http-01", &arena, &z, &diag), PL_OK);
    CHECK_STR(z.domain, "a.test");
    CHECK_STR(z.url, "https://a.test/h");
    CHECK_STR(z.token, "Ab-_9");
    CHECK_EQ(pl_acme_read_authorization(pl_bytes_text(body), "other-01", &arena, &z, &diag), PL_OK);
    CHECK(z.url == NULL);
    /* A token becomes part of a path and of an answer: nothing but base64url. */
    CHECK_EQ(pl_acme_read_authorization(pl_bytes_text(body), "tls-alpn-01", &arena, &z, &diag),
        PL_MALFORMED);
    CHECK_STR(diag.text, "the authority's token: expected base64url");
    clear();
}

TEST(no_failing_allocation_harms)
{
    static const char order[] = "{\"status\":\"valid\",\"finalize\":\"https://a.test/"
                                "f\",\"certificate\":\"https://a.test/c\","
                                "\"authorizations\":[\"https://a.test/1\",\"https://a.test/2\"]}";
    for (long i = 0;; i++) {
        struct pl_acme_order o;
        pl_alloc_fail(i, 1);
        enum pl_err err = pl_acme_read_order(pl_bytes_text(order), &arena, &o, &diag);
        pl_alloc_fail(-1, 0);
        clear();
        if (err == PL_OK) {
            CHECK(i > 0);
            break;
        }
        CHECK_EQ(err, PL_NO_MEMORY);
        if (!CHECK(i < 100))
            break;
    }
}

TEST(a_problem_is_cut_to_its_room_and_never_fails)
{
    struct pl_acme_problem problem;
    char body[1000];
    char detail[500];
    /* Two bytes a character: it is not cut within one. */
    for (size_t i = 0; i + 1 < sizeof detail; i += 2)
        memcpy(detail + i, "\xc3\xa4", 2);
    detail[sizeof detail - 2] = 0;
    snprintf(body, sizeof body,
        "{\"type\":\"urn:ietf:params:acme:error:rateLimited\",\"detail\":\"%s\"}", detail);
    pl_acme_read_problem(pl_bytes_text(body), &problem);
    CHECK_STR(problem.type, "rateLimited");
    CHECK_EQ(strlen(problem.detail), 198);
    pl_acme_read_problem(PL_BYTES("502 Bad Gateway"), &problem);
    CHECK_STR(problem.type, "");
    CHECK_STR(problem.detail, "");
    pl_acme_read_problem(PL_BYTES("{\"type\":7,\"detail\":[]}"), &problem);
    CHECK_STR(problem.type, "");
}
