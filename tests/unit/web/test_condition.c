#include "web/condition.h"

#include "check.h"

static const char tag[] = "\"abc-1\"";
static const int64_t modified = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */
static const char then[] = "Sun, 06 Nov 1994 08:49:37 GMT";

static int64_t parse(const char *text)
{
    int64_t out = -1;
    return pl_web_date_parse(pl_bytes_text(text), &out) == PL_OK ? out : -1;
}

TEST(dates_are_written_and_read_in_all_three_forms)
{
    char text[PL_WEB_DATE_LEN + 1];
    pl_web_date_format(modified, text);
    CHECK_STR(text, then);
    CHECK_EQ(parse(then), modified);
    CHECK_EQ(parse("Sunday, 06-Nov-94 08:49:37 GMT"), modified);
    CHECK_EQ(parse("Sun Nov  6 08:49:37 1994"), modified);
    CHECK_EQ(parse("Sun Nov 16 08:49:37 1994"), modified + 864000);
    CHECK_EQ(parse("Sun, 06 Nov 1994 08:49:37 GMT "), -1);
    CHECK_EQ(parse("Sun, 06 Nov 1994 08:49:37 EST"), -1);
    CHECK_EQ(parse("Sun, 32 Nov 1994 08:49:37 GMT"), -1);
    CHECK_EQ(parse("Sun, 06 Foo 1994 08:49:37 GMT"), -1);
    CHECK_EQ(parse("784111777"), -1);
    CHECK_EQ(parse(""), -1);
    CHECK_EQ(parse(","), -1);
    pl_web_date_format(-5, text);
    CHECK_STR(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    pl_web_date_format(INT64_MAX, text);
    CHECK_STR(text, "Fri, 31 Dec 9999 23:59:59 GMT");
}

static enum pl_err check(const struct pl_web_conditions *c)
{
    return pl_web_condition_check(c, pl_bytes_text(tag), modified);
}

#define ASK(member, text) check(&(struct pl_web_conditions){.member = pl_bytes_text(text)})

TEST(who_has_the_file_already_does_not_get_it_again)
{
    CHECK_EQ(ASK(if_none_match, "\"abc-1\""), PL_EXISTS);
    CHECK_EQ(ASK(if_none_match, "\"x\", W/\"abc-1\""), PL_EXISTS);
    CHECK_EQ(ASK(if_none_match, "*"), PL_EXISTS);
    CHECK_EQ(ASK(if_none_match, "\"abc\""), PL_OK);
    CHECK_EQ(ASK(if_none_match, "abc-1"), PL_OK);
    CHECK_EQ(ASK(if_modified_since, then), PL_EXISTS);
    CHECK_EQ(ASK(if_modified_since, "Sun, 06 Nov 1994 08:49:38 GMT"), PL_EXISTS);
    CHECK_EQ(ASK(if_modified_since, "Sun, 06 Nov 1994 08:49:36 GMT"), PL_OK);
    CHECK_EQ(ASK(if_modified_since, "yesterday"), PL_OK);
    /* The tag counts where both are there. */
    CHECK_EQ(check(&(struct pl_web_conditions){
                 .if_none_match = PL_BYTES("\"other\""), .if_modified_since = pl_bytes_text(then)}),
        PL_OK);
}

TEST(who_wants_another_file_gets_none)
{
    CHECK_EQ(ASK(if_match, "\"abc-1\""), PL_OK);
    CHECK_EQ(ASK(if_match, "*"), PL_OK);
    CHECK_EQ(ASK(if_match, "W/\"abc-1\""), PL_DENIED);
    CHECK_EQ(ASK(if_match, "\"other\""), PL_DENIED);
    CHECK_EQ(ASK(if_unmodified_since, then), PL_OK);
    CHECK_EQ(ASK(if_unmodified_since, "Sun, 06 Nov 1994 08:49:36 GMT"), PL_DENIED);
}

static uint64_t from, len;

static enum pl_err range(const char *text, const char *if_range, uint64_t size)
{
    struct pl_web_conditions c = {
        .range = pl_bytes_text(text), .if_range = pl_bytes_text(if_range)};
    from = len = 999;
    return pl_web_range_choose(&c, pl_bytes_text(tag), modified, size, &from, &len);
}

#define CHECK_RANGE(text, size, wanted_from, wanted_len)                                           \
    (CHECK_EQ(range(text, NULL, size), PL_OK), CHECK_EQ(from, wanted_from),                        \
        CHECK_EQ(len, wanted_len))

TEST(a_part_of_the_file_is_chosen)
{
    CHECK_RANGE("bytes=0-0", 100, 0, 1);
    CHECK_RANGE("bytes=0-99", 100, 0, 100);
    CHECK_RANGE("bytes=10-19", 100, 10, 10);
    CHECK_RANGE("bytes=90-200", 100, 90, 10);
    CHECK_RANGE("bytes=90-18446744073709551615", 100, 90, 10);
    CHECK_RANGE("bytes=99-", 100, 99, 1);
    CHECK_RANGE("bytes=-1", 100, 99, 1);
    CHECK_RANGE("bytes=-200", 100, 0, 100);
    CHECK_RANGE("Bytes= 5-6 ", 100, 5, 2);
    CHECK_EQ(range("bytes=100-", NULL, 100), PL_LIMIT);
    CHECK_EQ(range("bytes=-0", NULL, 100), PL_LIMIT);
    CHECK_EQ(range("bytes=0-", NULL, 0), PL_LIMIT);
}

TEST(what_is_no_single_part_is_the_whole)
{
    static const char *const whole[] = {"bytes=0-1,5-6", "bytes=", "bytes=5", "bytes=a-b",
        "bytes=6-5", "bytes=-", "items=0-1", "bytes", "bytes=0-1-2", "bytes=+1-2",
        "bytes=99999999999999999999999-"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        CHECK_EQ(range(whole[i], NULL, 100), PL_NOT_FOUND);
}

TEST(a_part_of_another_file_is_the_whole_of_this_one)
{
    CHECK_EQ(range("bytes=0-1", tag, 100), PL_OK);
    CHECK_EQ(range("bytes=0-1", "\"other\"", 100), PL_NOT_FOUND);
    CHECK_EQ(range("bytes=0-1", "W/\"abc-1\"", 100), PL_NOT_FOUND);
    CHECK_EQ(range("bytes=0-1", then, 100), PL_OK);
    CHECK_EQ(range("bytes=0-1", "Sun, 06 Nov 1994 08:49:38 GMT", 100), PL_NOT_FOUND);
    CHECK_EQ(range("bytes=0-1", "", 100), PL_NOT_FOUND);
}
