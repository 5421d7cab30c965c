#include "web/accept.h"

#include "check.h"

/* The choices in order: "zstd,br". */
static const char *choices(const char *value)
{
    static char text[64];
    struct pl_web_accept accept;
    pl_web_accept_begin(&accept);
    if (value)
        pl_web_accept_add(&accept, pl_bytes_text(value));
    size_t len = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < 10; i++) {
        enum pl_web_encoding e = pl_web_accept_choice(&accept, i);
        if (e == PL_WEB_IDENTITY)
            break;
        len += (size_t)snprintf(
            text + len, sizeof text - len, "%s%s", i ? "," : "", pl_web_encoding_name(e));
    }
    return text;
}

TEST(the_best_that_a_client_takes_comes_first)
{
    CHECK_STR(choices("gzip, deflate, br, zstd"), "zstd,br,gzip");
    CHECK_STR(choices("gzip, deflate, br"), "br,gzip");
    CHECK_STR(choices("x-gzip"), "gzip");
    CHECK_STR(choices("GZIP"), "gzip");
    CHECK_STR(choices("*"), "zstd,br,gzip");
    CHECK_STR(choices("deflate"), "");
    CHECK_STR(choices(""), "");
    CHECK_STR(choices(NULL), "");
}

TEST(weights_are_respected)
{
    CHECK_STR(choices("gzip;q=1.0, br;q=0.5, zstd;q=0"), "gzip,br");
    CHECK_STR(choices("zstd;q=0.1, br;q=0.2, gzip;q=0.3"), "gzip,br,zstd");
    CHECK_STR(choices("br;q=0, *"), "zstd,gzip");
    CHECK_STR(choices("*;q=0"), "");
    CHECK_STR(choices("gzip ; Q=0.001"), "gzip");
    CHECK_STR(choices("gzip;q=0.000"), "");
    CHECK_STR(choices("identity, gzip;q=0.5"), ""); /* rather plain */
    CHECK_STR(choices("identity;q=0.5, gzip;q=0.5"), "gzip");
    CHECK_STR(choices("identity;q=0, gzip;q=0.1"), "gzip");
}

TEST(what_is_not_understood_is_left_out)
{
    CHECK_STR(choices("gzip;q=2, br"), "br");
    CHECK_STR(choices("gzip;q=, br"), "br");
    CHECK_STR(choices("gzip;q=0.5555, br"), "br");
    CHECK_STR(choices("gzip;level=9, br"), "br");
    CHECK_STR(choices(",,;,;;q=1, br"), "br");
    CHECK_STR(choices("gzip;q=1.001"), "");
}
