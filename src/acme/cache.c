#include "acme/cache.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

enum { SHA256_LEN = 32, FILE_MAX = 1 << 20 };

void pl_acme_cache_name(const char *prefix, const char *const *texts, size_t count,
    const char *directory, char out[PL_ACME_CACHE_NAME_MAX])
{
    gnutls_hash_hd_t hash;
    uint8_t digest[SHA256_LEN] = {0};
    char text[4 * (SHA256_LEN / 3 + 1) + 1];
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) == 0) {
        bool ok = true;
        for (size_t i = 0; i < count; i++)
            ok &= gnutls_hash(hash, texts[i], strlen(texts[i]) + 1) == 0;
        ok &= gnutls_hash(hash, directory, strlen(directory)) == 0;
        PL_ASSERT(ok); /* it only adds bytes up */
        gnutls_hash_deinit(hash, digest);
    }
    text[pl_base64_encode(pl_bytes_of(digest, sizeof digest), true, text)] = 0;
    snprintf(out, PL_ACME_CACHE_NAME_MAX, "%s%s", prefix, text);
}

static char *join(const char *folder, const char *name)
{
    size_t cap = strlen(folder) + strlen(name) + 2;
    char *path = pl_alloc(cap);
    if (path)
        snprintf(path, cap, "%s/%s", folder, name);
    return path;
}

enum pl_err pl_acme_cache_read(
    const char *folder, const char *name, char **out, size_t *out_len, struct pl_diag *diag)
{
    char *path = join(folder, name);
    if (!path)
        return PL_NO_MEMORY;
    struct pl_file_facts facts;
    enum pl_err err = pl_file_read(path, FILE_MAX, diag, out, out_len, &facts);
    /* The original leaves it to the umask who may read them. Where we may not change it, we have at
     * least read it. */
    if (!err && (facts.mode & 077) != 0)
        (void)!chmod(path, 0600);
    pl_free(path);
    return err;
}

enum pl_err pl_acme_cache_write(
    const char *folder, const char *name, struct pl_bytes content, struct pl_diag *diag)
{
    char *path = join(folder, name);
    if (!path)
        return PL_NO_MEMORY;
    enum pl_err err = pl_file_make_folders(path, diag);
    if (!err)
        err = pl_file_replace(path, content, NULL, diag);
    pl_free(path);
    return err;
}
