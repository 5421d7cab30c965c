#include "web/cache.h"

#include <zlib.h>
#include <zstd.h>

#include "check.h"
#include "web/compress.h"
#include "web/mime.h"

static const struct pl_web_stamp first = {.modified_ns = 1, .size = 10};
static const struct pl_web_stamp later = {.modified_ns = 2, .size = 10};

static struct pl_shared *body_of(size_t len)
{
    struct pl_shared *body = pl_shared_new(len);
    PL_ASSERT(body);
    memset(body->data, 'x', len);
    body->len = (uint32_t)len;
    return body;
}

static enum pl_err find(struct pl_web_cache *cache, const char *name, struct pl_web_stamp stamp)
{
    struct pl_shared *body = NULL;
    enum pl_err err = pl_web_cache_find(cache, pl_bytes_text(name), PL_WEB_BROTLI, stamp, &body);
    pl_shared_unref(body);
    return err;
}

/* As a thread does it. */
static enum pl_err find_or_make(
    struct pl_web_cache *cache, const char *name, struct pl_web_stamp stamp, size_t len)
{
    enum pl_err err = find(cache, name, stamp);
    if (err != PL_NOT_FOUND)
        return err;
    struct pl_shared *body = body_of(len);
    pl_web_cache_put(cache, pl_bytes_text(name), PL_WEB_BROTLI, stamp, body, false);
    pl_shared_unref(body);
    return err;
}

TEST(a_body_is_made_once_and_again_when_the_file_has_changed)
{
    struct pl_web_cache *cache = pl_web_cache_new(100000);
    CHECK_EQ(find_or_make(cache, "a", first, 100), PL_NOT_FOUND);
    CHECK_EQ(find_or_make(cache, "a", first, 100), PL_OK);
    CHECK_EQ(find_or_make(cache, "a", later, 100), PL_NOT_FOUND);
    CHECK_EQ(find_or_make(cache, "a", later, 100), PL_OK);
    pl_web_cache_free(cache);
}

TEST(while_one_makes_it_the_others_do_not)
{
    struct pl_web_cache *cache = pl_web_cache_new(100000);
    CHECK_EQ(find(cache, "a", first), PL_NOT_FOUND);
    CHECK_EQ(find(cache, "a", first), PL_LIMIT);
    CHECK_EQ(find(cache, "a", later), PL_LIMIT);
    pl_web_cache_put(cache, PL_BYTES("a"), PL_WEB_BROTLI, first, NULL, false); /* it failed */
    CHECK_EQ(find(cache, "a", first), PL_NOT_FOUND);
    pl_web_cache_put(cache, PL_BYTES("a"), PL_WEB_BROTLI, first, NULL, true);
    CHECK_EQ(find(cache, "a", first), PL_OK); /* it is known that it does not help */
    pl_web_cache_free(cache);
}

TEST(the_least_recently_used_goes_and_a_large_one_does_not_come)
{
    struct pl_web_cache *cache = pl_web_cache_new(10000);
    CHECK_EQ(find_or_make(cache, "a", first, 4000), PL_NOT_FOUND);
    CHECK_EQ(find_or_make(cache, "b", first, 4000), PL_NOT_FOUND);
    CHECK_EQ(find(cache, "a", first), PL_OK);
    CHECK_EQ(find_or_make(cache, "c", first, 4000), PL_NOT_FOUND);
    CHECK(pl_web_cache_bytes(cache) <= 10000);
    CHECK_EQ(find(cache, "a", first), PL_OK);
    CHECK_EQ(find_or_make(cache, "b", first, 4000), PL_NOT_FOUND);
    CHECK_EQ(find_or_make(cache, "d", first, 5001), PL_NOT_FOUND);
    CHECK_EQ(find(cache, "b", first), PL_OK);
    CHECK_EQ(find(cache, "d", first), PL_OK); /* half at most: it is not made again */
    CHECK(pl_web_cache_bytes(cache) <= 10000);
    pl_web_cache_free(cache);
}

TEST(what_is_compressed_becomes_the_same_again)
{
    char text[20000], back[20000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "All these words were here before. "[i % 34 ? (i * i) % 34 : 0];
    struct pl_bytes in = pl_bytes_of(text, sizeof text);
    struct pl_shared *out = NULL;

    CHECK_EQ(pl_web_compress(PL_WEB_GZIP, in, &out), PL_OK);
    z_stream z = {0};
    CHECK_EQ(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = out->data;
    z.avail_in = out->len;
    z.next_out = (Bytef *)back;
    z.avail_out = sizeof back;
    CHECK_EQ(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    CHECK_BYTES(back, z.total_out, text, sizeof text);
    pl_shared_unref(out);

    CHECK_EQ(pl_web_compress(PL_WEB_ZSTD, in, &out), PL_OK);
    memset(back, 0, sizeof back);
    CHECK_EQ(ZSTD_decompress(back, sizeof back, out->data, out->len), sizeof back);
    CHECK_BYTES(back, sizeof back, text, sizeof text);
    pl_shared_unref(out);

    CHECK_EQ(pl_web_compress(PL_WEB_BROTLI, in, &out), PL_OK);
    CHECK(out->len < sizeof text);
    pl_shared_unref(out);
}

TEST(what_would_not_get_smaller_is_left)
{
    uint8_t noise[64];
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
    struct pl_shared *out = NULL;
    for (int e = PL_WEB_GZIP; e < PL_WEB_ENCODINGS; e++)
        CHECK_EQ(pl_web_compress((enum pl_web_encoding)e, pl_bytes_of(noise, sizeof noise), &out),
            PL_UNSUPPORTED);
    CHECK_EQ(pl_web_compress(PL_WEB_GZIP, PL_NO_BYTES, &out), PL_UNSUPPORTED);
}

static const char *type_of(const char *path)
{
    return pl_web_mime_find(pl_bytes_text(path))->type;
}

TEST(the_name_tells_the_type)
{
    CHECK_STR(type_of("index.html"), "text/html; charset=utf-8");
    CHECK_STR(type_of("a.b/PHOTO.JPG"), "image/jpeg");
    CHECK_STR(type_of("app.mjs"), "text/javascript; charset=utf-8");
    CHECK_STR(type_of("x.tar.gz"), "application/gzip");
    CHECK_STR(type_of("html"), "application/octet-stream");
    CHECK_STR(type_of("a.html/b"), "application/octet-stream");
    CHECK_STR(type_of("a."), "application/octet-stream");
    CHECK_STR(type_of(""), "application/octet-stream");
}
