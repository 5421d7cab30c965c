#include "web/path.h"

#include "check.h"

static const char *parse(const char *path)
{
    static struct pl_web_path out;
    return pl_web_path_parse(pl_bytes_text(path), false, &out) == PL_OK ? out.text : NULL;
}

static bool is_folder(const char *path)
{
    struct pl_web_path out;
    return pl_web_path_parse(pl_bytes_text(path), false, &out) == PL_OK && out.is_folder;
}

TEST(a_path_becomes_the_name_of_a_file)
{
    CHECK_STR(parse("/index.html"), "index.html");
    CHECK_STR(parse("/a%20b//c/./d.html"), "a b/c/d.html");
    CHECK_STR(parse("/%C3%A4.txt"), "\xc3\xa4.txt");
    CHECK_STR(parse("/a%2Fb"), "a/b");
    CHECK_STR(parse("/a%252Fb"), "a%2Fb");
    CHECK_STR(parse("//evil.example/x"), "evil.example/x");
    CHECK_STR(parse("/a...b/..c/d.."), NULL); /* ..c is hidden */
    CHECK_STR(parse("/a...b/c../d.."), "a...b/c../d..");
}

TEST(a_slash_at_the_end_makes_a_folder)
{
    CHECK_STR(parse("/"), "");
    CHECK(is_folder("/"));
    CHECK_STR(parse("/docs/"), "docs");
    CHECK(is_folder("/docs/"));
    CHECK_STR(parse("/docs//"), "docs");
    CHECK(is_folder("/docs//"));
    CHECK_STR(parse("/docs/."), "docs");
    CHECK(is_folder("/docs/."));
    CHECK(is_folder("/."));
    CHECK(!is_folder("/docs"));
}

TEST(nothing_goes_up_in_any_encoding)
{
    static const char *const bad[] = {"/..", "/../", "/../etc/passwd", "/a/../../b", "/a/..",
        "/%2e%2e/x", "/%2E./x", "/.%2e/x", "/a/%2e%2e%2fx", "/..%2fetc", "/a%2f..%2f..%2fb",
        "/%2e%2e", "/a/%2e%2e"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STR(parse(bad[i]), NULL);
}

TEST(what_cannot_be_a_name_is_not_found)
{
    static const char *const bad[] = {"", "x", "*", "/%00", "/a%00.html", "/%", "/%4", "/%zz",
        "/%0a", "/\x7f", "/%ff", "/%c0%ae%c0%ae/x", "/%1f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STR(parse(bad[i]), NULL);
    static char name[PL_WEB_PATH_MAX + 10];
    memset(name, 'a', sizeof name - 1);
    name[0] = '/';
    CHECK_STR(parse(name), NULL);
    name[PL_WEB_PATH_MAX - 1] = '\0';
    CHECK_STR(parse(name), name + 1);
}

TEST(hidden_names_are_shown_if_asked_for_and_well_known_always_is)
{
    struct pl_web_path out;
    CHECK_STR(parse("/.git/config"), NULL);
    CHECK_STR(parse("/a/.env"), NULL);
    CHECK_STR(parse("/%2egit/config"), NULL);
    CHECK_STR(parse("/.well-known/security.txt"), ".well-known/security.txt");
    CHECK_EQ(pl_web_path_parse(PL_BYTES("/.git/config"), true, &out), PL_OK);
    CHECK_STR(out.text, ".git/config");
    CHECK_EQ(pl_web_path_parse(PL_BYTES("/.git/.."), true, &out), PL_NOT_FOUND);
}

TEST(a_name_becomes_a_path_again)
{
    char out[64];
    CHECK_EQ(pl_web_path_escape(PL_BYTES("a b/\xc3\xa4?#%\"\\<"), out, sizeof out), PL_OK);
    CHECK_STR(out, "a%20b/%C3%A4%3F%23%25%22%5C%3C");
    CHECK_EQ(pl_web_path_escape(PL_BYTES("aaaaaaaaaaaa"), out, 8), PL_TOO_LARGE);
}
