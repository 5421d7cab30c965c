#include <parley/parley.h>

#include <stdlib.h>

#include "check.h"
#include "client/message.h"
#include "client/values.h"

/* A message that a client would have got: an EVENT in JSON. */
static struct parley_message *event(const char *json)
{
    struct pl_wamp wamp;
    struct parley_message view;
    struct pl_bytes bytes = pl_bytes_text(json);
    if (pl_wamp_decode(PL_SERIAL_JSON, bytes, &wamp, NULL) != PL_OK)
        return NULL;
    pl_view_of(&view, &wamp, bytes);
    struct parley_message *copy = parley_message_copy(&view);
    pl_view_done(&view);
    return copy;
}

/* What arguments say on the wire, as JSON; to be freed. */
static char *sent(struct parley_args *args)
{
    struct pl_bytes payload;
    if (pl_args_payload(args, &payload) != PL_OK)
        return NULL;
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_wamp_begin(&w, PL_SERIAL_JSON, PL_WAMP_YIELD);
    pl_wamp_end(&v, PL_SERIAL_MSGPACK, payload);
    struct pl_shared *text;
    if (pl_writer_take(&w, &text) != PL_OK)
        return NULL;
    char *copy = strndup((const char *)text->data, text->len);
    pl_shared_unref(text);
    return copy;
}

static void check_sent(struct parley_args *args, const char *expected)
{
    char *text = sent(args);
    if (CHECK(text))
        CHECK_STR(text, expected);
    free(text);
    parley_args_free(args);
}

static void check_refused(struct parley_args *args)
{
    struct pl_bytes payload;
    CHECK_EQ(pl_args_payload(args, &payload), PL_MALFORMED);
    parley_args_free(args);
}

TEST(arguments_are_put_together_value_by_value)
{
    struct parley_args *args = parley_args_new();
    parley_args_null(args);
    parley_args_bool(args, true);
    parley_args_integer(args, -7);
    parley_args_natural(args, UINT64_MAX);
    parley_args_float(args, 2);
    parley_args_string(args, "h\xC3\xA9");
    parley_args_string(args, NULL);
    parley_args_text(args, "a\0b", 3);
    parley_args_binary(args, "\x10\xE3", 2);
    parley_args_list(args);
    parley_args_dict(args);
    parley_args_key(args, "k");
    parley_args_integer(args, 1);
    parley_args_end(args);
    parley_args_end(args);
    check_sent(args, "[70,[null,true,-7,18446744073709551615,2.0,\"h\xC3\xA9\",null,\"a\\u0000b\","
                     "\"\\u0000EOM=\",[{\"k\":1}]]]");
}

TEST(arguments_have_keywords_behind_their_list)
{
    struct parley_args *args = parley_args_new();
    parley_args_integer(args, 1);
    parley_args_keywords(args);
    parley_args_key(args, "speed");
    parley_args_float(args, 0.75);
    check_sent(args, "[70,[1],{\"speed\":0.75}]");
    args = parley_args_new();
    parley_args_keywords(args);
    parley_args_key(args, "only");
    parley_args_bool(args, false);
    check_sent(args, "[70,[],{\"only\":false}]");
}

TEST(no_arguments_are_left_out)
{
    check_sent(parley_args_new(), "[70]");
    check_sent(NULL, "[70]");
    check_sent(parley_args_json("[]", NULL), "[70]");
}

TEST(arguments_come_from_json_too)
{
    check_sent(parley_args_json(" [1, {\"a\": [true]}] ", "{\"x\": null}"),
        "[70,[1,{\"a\":[true]}],{\"x\":null}]");
    check_sent(parley_args_json(NULL, "{\"x\":1}"), "[70,[],{\"x\":1}]");
    struct parley_args *args = parley_args_new();
    parley_args_json_value(args, "[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]");
    check_sent(args, "[70,[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]");
}

TEST(a_mistake_in_arguments_is_told_when_they_are_sent)
{
    check_refused(parley_args_json("[1", NULL));
    check_refused(parley_args_json("{}", NULL));
    check_refused(parley_args_json("[1] 2", NULL));
    check_refused(parley_args_json("[1]", "[2]"));
    struct parley_args *args = parley_args_new();
    parley_args_key(args, "no dictionary is open");
    check_refused(args);
    args = parley_args_new();
    parley_args_dict(args);
    parley_args_integer(args, 1); /* no key */
    parley_args_end(args);
    check_refused(args);
    args = parley_args_new();
    parley_args_list(args); /* never ended */
    check_refused(args);
    args = parley_args_new();
    parley_args_end(args); /* nothing is open */
    check_refused(args);
    args = parley_args_new();
    parley_args_keywords(args);
    parley_args_keywords(args);
    check_refused(args);
    args = parley_args_new();
    for (int i = 0; i < 100; i++)
        parley_args_list(args);
    for (int i = 0; i < 100; i++)
        parley_args_end(args);
    check_refused(args);
}

TEST(kept_arguments_are_sent_twice)
{
    struct parley_args *args = parley_args_json("[1]", NULL);
    check_sent(parley_args_keep(args), "[70,[1]]");
    parley_args_integer(args, 2); /* they are fixed */
    check_sent(args, "[70,[1]]");
}

TEST(values_are_read_as_they_came)
{
    struct parley_message *m = event("[36,1,2,{\"topic\":\"a.b\",\"retained\":true},"
                                     "[1,-2,1.5,2.0,\"x\\u0000y\",\"\\u0000EOM=\",null,false,"
                                     "18446744073709551615],{\"k\":[1,2],\"k\":{\"z\":\"last\"}}]");
    REQUIRE(m);
    const struct parley_value *args = parley_message_args(m);
    CHECK_EQ(parley_value_kind(args), PARLEY_LIST);
    CHECK_EQ(parley_value_count(args), 9);
    CHECK_EQ(parley_value_integer(parley_message_arg(m, 0), 0), 1);
    CHECK_EQ(parley_value_integer(parley_message_arg(m, 1), 0), -2);
    CHECK_EQ(parley_value_natural(parley_message_arg(m, 1), 77), 77);
    CHECK(parley_value_number(parley_message_arg(m, 2), 0) == 1.5);
    CHECK_EQ(parley_value_integer(parley_message_arg(m, 2), 9), 9);
    CHECK_EQ(parley_value_kind(parley_message_arg(m, 3)), PARLEY_FLOAT);
    CHECK_EQ(parley_value_integer(parley_message_arg(m, 3), 9), 2);
    size_t len = 0;
    const char *text = parley_value_bytes(parley_message_arg(m, 4), &len);
    CHECK_BYTES(text, len, "x\0y", 3);
    CHECK_EQ(parley_value_kind(parley_message_arg(m, 5)), PARLEY_BINARY);
    text = parley_value_bytes(parley_message_arg(m, 5), &len);
    CHECK_BYTES(text, len, "\x10\xE3", 2);
    CHECK(!parley_value_string(parley_message_arg(m, 5), NULL));
    CHECK_EQ(parley_value_kind(parley_message_arg(m, 6)), PARLEY_NULL);
    CHECK(!parley_value_bool(parley_message_arg(m, 7), true));
    CHECK(parley_value_natural(parley_message_arg(m, 8), 0) == UINT64_MAX);
    CHECK(!parley_message_arg(m, 9));
    CHECK_STR(
        parley_value_string(parley_value_get(parley_message_kwarg(m, "k"), "z"), "none"), "last");
    CHECK_STR(parley_value_key(parley_message_kwargs(m), 0), "k");
    CHECK(!parley_value_key(args, 0));
    CHECK(parley_value_bool(parley_value_get(parley_message_details(m), "retained"), false));
    CHECK_EQ(parley_message_publication(m), 2);
    char *json = parley_value_json(parley_message_kwargs(m));
    CHECK_STR(json, "{\"k\":[1,2],\"k\":{\"z\":\"last\"}}");
    parley_free(json);
    parley_message_free(m);
}

TEST(what_is_not_there_is_not_read)
{
    CHECK_EQ(parley_value_kind(NULL), PARLEY_NULL);
    CHECK_EQ(parley_value_integer(NULL, 5), 5);
    CHECK_EQ(parley_value_count(NULL), 0);
    CHECK(!parley_value_at(NULL, 0));
    CHECK(!parley_value_get(NULL, "x"));
    CHECK(!parley_value_bytes(NULL, NULL));
    char *json = parley_value_json(NULL);
    CHECK_STR(json, "null");
    parley_free(json);
    struct parley_message *m = event("[36,1,2,{}]");
    REQUIRE(m);
    CHECK(!parley_message_args(m));
    CHECK(!parley_message_kwargs(m));
    CHECK(!parley_message_arg(m, 0));
    CHECK(!parley_message_kwarg(m, "x"));
    parley_message_free(m);
}

TEST(a_value_that_came_can_be_sent_on)
{
    struct parley_message *m = event("[36,1,2,{},[{\"a\":[1,\"\\u0000EOM=\"]}]]");
    REQUIRE(m);
    struct parley_args *args = parley_args_new();
    parley_args_value(args, parley_message_arg(m, 0));
    parley_args_value(args, NULL);
    check_sent(args, "[70,[{\"a\":[1,\"\\u0000EOM=\"]},null]]");
    parley_message_free(m);
}
