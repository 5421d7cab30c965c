/* Paths of requests: whatever comes, what is made of it stays beneath the folder, and written out
 * and read again it is the same. */
#include <stddef.h>
#include <stdint.h>

#include "web/mime.h"
#include "web/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_segments(const struct pl_web_path *path, bool shows_hidden)
{
    const char *at = path->text;
    PL_ASSERT(strlen(at) == path->len && at[0] != '/');
    while (*at) {
        size_t len = strcspn(at, "/");
        PL_ASSERT(len > 0 && !(len == 1 && at[0] == '.') && strncmp(at, "../", 3) != 0 &&
                  strcmp(at, "..") != 0);
        PL_ASSERT(
            shows_hidden || at[0] != '.' || (len == 11 && strncmp(at, ".well-known", len) == 0));
        at += len;
        PL_ASSERT(!*at || at[1]); /* no slash at the end */
        at += *at == '/';
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pl_web_path path, again;
    static char escaped[3 * PL_WEB_PATH_MAX + 2];
    for (int shows_hidden = 0; shows_hidden < 2; shows_hidden++) {
        if (pl_web_path_parse(pl_bytes_of(data, size), shows_hidden, &path) != PL_OK)
            continue;
        check_segments(&path, shows_hidden);
        escaped[0] = '/';
        PL_ASSERT(pl_web_path_escape(
                      pl_bytes_of(path.text, path.len), escaped + 1, sizeof escaped - 1) == PL_OK);
        PL_ASSERT(pl_web_path_parse(pl_bytes_text(escaped), shows_hidden, &again) == PL_OK);
        PL_ASSERT(again.len == path.len && memcmp(again.text, path.text, path.len) == 0);
        PL_ASSERT(pl_web_mime_find(pl_bytes_of(path.text, path.len))->type);
    }
    return 0;
}
