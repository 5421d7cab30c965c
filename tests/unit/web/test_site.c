#include "web/site.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "check.h"
#include "codec/http.h"
#include "web/beneath.h"
#include "web/proxy.h"

static char root[] = "/tmp/parley-site-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "w");
    PL_ASSERT(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void put_link(const char *name, const char *target)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", root, name);
    PL_ASSERT(symlink(target, path) == 0);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *at)
{
    (void)about;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_root(void)
{
    (void)nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Before any test, whichever is chosen. */
__attribute__((constructor)) static void make_root(void)
{
    static const char *const folders[] = {"a.test", "a.test/docs", "b.test"};
    static char text[4001];
    PL_ASSERT(mkdtemp(root) && atexit(remove_root) == 0);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", root, folders[i]);
        PL_ASSERT(mkdir(path, 0700) == 0);
    }
    memset(text, 'x', sizeof text - 1);
    put("a.test/index.html", text);
    put("a.test/docs/x.txt", "docs");
    put("b.test/index.html", "b");
    put("secret", "secret");
    put_link("a.test/docs/to", "x.txt");
    put_link("a.test/up", "..");
    put_link("a.test/out", "../../secret");
    put_link("a.test/abs", "/etc/passwd");
    put_link("a.test/loop", "loop");
}

typedef enum pl_err open_fn(int folder, const char *name, int flags, int *out_fd);

static enum pl_err try_open(open_fn *open_one, const char *name)
{
    char path[200];
    int fd;
    snprintf(path, sizeof path, "%s/a.test", root);
    int folder = open(path, O_PATH | O_DIRECTORY);
    enum pl_err err = open_one(folder, name, O_RDONLY, &fd);
    if (!err)
        close(fd);
    close(folder);
    return err;
}

TEST(nothing_outside_is_opened_with_and_without_the_kernels_help)
{
    static open_fn *const ways[] = {pl_web_open_beneath, pl_web_open_by_steps};
    static const char *const inside[] = {"index.html", "docs/x.txt", "docs", ""};
    static const char *const outside[] = {"../secret", "up/secret", "up", "out", "abs", "loop",
        "docs/../../secret", "..", "missing", "index.html/x", "up/b.test/index.html"};
    for (size_t w = 0; w < 2; w++) {
        for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
            CHECK_EQ(try_open(ways[w], inside[i]), PL_OK);
        for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
            CHECK_EQ(try_open(ways[w], outside[i]), PL_NOT_FOUND);
    }
    CHECK_EQ(try_open(pl_web_open_beneath, "docs/to"), PL_OK);
    CHECK_EQ(try_open(pl_web_open_by_steps, "docs/to"), PL_NOT_FOUND);
}

static const char request_text[] = "GET /index.html?a=b HTTP/1.1\r\nHost: a.test\r\n"
                                   "Accept-Encoding: gzip\r\nIf-None-Match: \"x\"\r\n"
                                   "Connection: keep-alive\r\nX-Own: 1\r\n\r\n";

/* One request, whole. The status of its answer; 0: no memory. */
static unsigned ask_once(struct pl_site *site)
{
    struct pl_http_request request;
    struct pl_arena arena = {0};
    struct pl_web_ask ask;
    struct pl_web_answer answer;
    unsigned status = 0;
    PL_ASSERT(pl_http_parse(pl_bytes_text(request_text), &request, &status) == PL_OK);
    status = 0;
    enum pl_err err = pl_web_ask_make("a.test", &request, false, &arena, &ask);
    if (!err)
        err = pl_site_answer(site, &ask, &answer);
    if (!err) {
        status = (unsigned)strtoul((const char *)answer.head->data + 9, NULL, 10);
        pl_web_answer_done(&answer);
    }
    pl_arena_done(&arena);
    return status;
}

TEST(no_failing_allocation_harms_a_page)
{
    const struct pl_site_options options = {
        .root = root, .file_max = 1 << 20, .cache_bytes = 1 << 20, .compress_max = 1 << 20};
    struct pl_diag diag = {{0}, 0};
    for (long n = 0;; n++) {
        struct pl_site *site = NULL;
        unsigned status = 0;
        pl_alloc_fail(n, n & 1);
        if (pl_site_new(&options, &site, &diag) == PL_OK)
            status = ask_once(site);
        pl_alloc_fail(-1, 0);
        CHECK(status == 0 || status == 200);
        if (site) /* it recovers */
            CHECK_EQ(ask_once(site), 200);
        pl_site_free(site);
        if (status == 200 && n > 30)
            break;
    }
}

TEST(no_failing_allocation_harms_a_request_for_another_server)
{
    static const struct pl_proxy_target target = {"/index.html", "http://127.0.0.1:1/x/"};
    struct pl_http_request request;
    unsigned status;
    PL_ASSERT(pl_http_parse(pl_bytes_text(request_text), &request, &status) == PL_OK);
    for (long n = 0;; n++) {
        struct pl_arena arena = {0};
        struct pl_proxy_ask ask;
        pl_alloc_fail(n, 1);
        enum pl_err err =
            pl_proxy_ask_make(&target, &request, PL_BYTES("192.0.2.7"), true, &arena, &ask);
        pl_alloc_fail(-1, 0);
        if (!err) {
            CHECK_STR(ask.url, "http://127.0.0.1:1/x/?a=b");
            CHECK_STR(ask.method, "GET");
        }
        pl_arena_done(&arena);
        CHECK(err == PL_OK || err == PL_NO_MEMORY);
        if (!err)
            break;
    }
}

TEST(a_root_that_is_no_folder_is_told)
{
    struct pl_site *site = NULL;
    struct pl_diag diag = {{0}, 0};
    CHECK_EQ(
        pl_site_new(&(struct pl_site_options){.root = "/nonexistent/parley"}, &site, &diag), PL_IO);
    CHECK_STR(diag.text, "web.root: /nonexistent/parley: No such file or directory");
}
