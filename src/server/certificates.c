/*
 * What listeners show as their certificate: files, the self-signed one of the first start.
 */
#include "base/alloc.h"
#include "net/tls_store.h"
#include "server/state.h"

static void unref_all(struct pl_tls_certificate **list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        pl_tls_certificate_unref(list[i]);
    pl_free(list);
}

/* tls.certificate, where there is one, then tls.certificates. Whoever gets them gives them to
 * unref_all, also after an error. */
static enum pl_err read_files(const struct pl_config *config, struct pl_tls_certificate ***out,
    uint32_t *out_count, struct pl_diag *diag)
{
    const struct pl_config_tls_files *files = &config->tls;
    uint32_t count = 0;
    struct pl_tls_certificate **list =
        pl_zalloc((files->certificates.count + 1) * sizeof(struct pl_tls_certificate *));
    enum pl_err err = list ? PL_OK : PL_NO_MEMORY;
    if (!err && files->certificate[0])
        err = pl_tls_certificate_read(files->certificate, files->key, &list[count], diag);
    count += !err && files->certificate[0] ? 1 : 0;
    for (uint32_t i = 0; i < files->certificates.count && !err; i++) {
        const struct pl_config_tls_pair *pair = &files->certificates.items[i];
        err = pl_tls_certificate_read(pair->certificate, pair->key, &list[count], diag);
        count += err ? 0 : 1;
    }
    *out = list;
    *out_count = count;
    return err;
}

enum pl_err pl_certificates_check(const struct pl_config *config, struct pl_diag *diag)
{
    struct pl_tls_certificate **list;
    uint32_t count;
    enum pl_err err = read_files(config, &list, &count, diag);
    unref_all(list, count);
    for (uint32_t i = 0; i < config->listeners.count && !err; i++) {
        const struct pl_config_listener *l = &config->listeners.items[i];
        struct pl_tls_certificate *own = NULL;
        if (l->certificate[0])
            err = pl_tls_certificate_read(l->certificate, l->key, &own, diag);
        pl_tls_certificate_unref(own);
    }
    return err;
}

static enum pl_err load_self_signed(struct pl_server *server, struct pl_diag *diag)
{
    char cert[4200], key[4200];
    struct pl_tls_certificate *made = NULL;
    snprintf(cert, sizeof cert, "%s/tls/cert.pem", server->data);
    snprintf(key, sizeof key, "%s/tls/key.pem", server->data);
    enum pl_err err = pl_tls_make_self_signed(cert, key, diag);
    if (!err)
        err = pl_tls_certificate_read(cert, key, &made, diag);
    if (!err)
        err = pl_tls_store_set(server->certificates, PL_TLS_FALLBACK, &made, 1);
    pl_tls_certificate_unref(made);
    return err;
}

enum pl_err pl_certificates_load(
    struct pl_server *server, const struct pl_config *config, struct pl_diag *diag)
{
    struct pl_tls_certificate **list;
    uint32_t count;
    enum pl_err err = read_files(config, &list, &count, diag);
    if (!err && !config->tls.certificate[0])
        err = load_self_signed(server, diag);
    if (!err)
        err = pl_tls_store_set(server->certificates, PL_TLS_CONFIGURED, list, count);
    unref_all(list, count);
    return err;
}
