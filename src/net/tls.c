#include "net/tls.h"

#include <gnutls/x509.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "net/tls_state.h"

enum { ALPN_MAX = 8, CHAIN_MAX = 16 };

static const char default_priorities[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";

struct pl_tls_loaded {
    atomic_uint refs;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priorities;
    gnutls_certificate_request_t request;
    gnutls_datum_t ticket_key; /* owned copy */
    gnutls_datum_t alpn[ALPN_MAX];
    unsigned alpn_count;
    char *alpn_text; /* owned; what alpn points to */
    uint64_t expires_unix_ms;
};

struct pl_tls_server {
    pthread_mutex_t lock; /* guards loaded */
    struct pl_tls_loaded *loaded;
    gnutls_datum_t ticket_key; /* outlives a reload, so that sessions can be resumed after it */
};

struct pl_tls_server *pl_tls_server_new(void)
{
    struct pl_tls_server *server = pl_zalloc(sizeof *server);
    if (!server)
        return NULL;
    if (gnutls_session_ticket_key_generate(&server->ticket_key) < 0) {
        pl_free(server);
        return NULL;
    }
    pthread_mutex_init(&server->lock, NULL);
    return server;
}

static void free_key(gnutls_datum_t *key)
{
    if (key->data) {
        gnutls_memset(key->data, 0, key->size);
        gnutls_free(key->data);
    }
    *key = (gnutls_datum_t){0};
}

struct pl_tls_server *pl_tls_server_free(struct pl_tls_server *server)
{
    if (!server)
        return NULL;
    pl_tls_loaded_unref(server->loaded);
    free_key(&server->ticket_key);
    pthread_mutex_destroy(&server->lock);
    pl_free(server);
    return NULL;
}

struct pl_tls_loaded *pl_tls_server_ref(struct pl_tls_server *server)
{
    pthread_mutex_lock(&server->lock);
    struct pl_tls_loaded *loaded = server->loaded;
    if (loaded)
        atomic_fetch_add_explicit(&loaded->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&server->lock);
    return loaded;
}

void pl_tls_loaded_unref(struct pl_tls_loaded *loaded)
{
    if (!loaded || atomic_fetch_sub_explicit(&loaded->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (loaded->credentials)
        gnutls_certificate_free_credentials(loaded->credentials);
    if (loaded->priorities)
        gnutls_priority_deinit(loaded->priorities);
    free_key(&loaded->ticket_key);
    pl_free(loaded->alpn_text);
    pl_free(loaded);
}

enum pl_err pl_tls_loaded_session(struct pl_tls_loaded *loaded, gnutls_session_t *out)
{
    gnutls_session_t session;
    /* A resumed session would not show the client's certificate anew. */
    unsigned tickets = loaded->request == GNUTLS_CERT_IGNORE ? 0 : GNUTLS_NO_TICKETS;
    if (gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | tickets) < 0)
        return PL_NO_MEMORY;
    if (gnutls_priority_set(session, loaded->priorities) < 0 ||
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, loaded->credentials) < 0 ||
        (!tickets && gnutls_session_ticket_enable_server(session, &loaded->ticket_key) < 0) ||
        (loaded->alpn_count && gnutls_alpn_set_protocols(session, loaded->alpn, loaded->alpn_count,
                                   GNUTLS_ALPN_SERVER_PRECEDENCE) < 0)) {
        gnutls_deinit(session);
        return PL_NO_MEMORY;
    }
    gnutls_certificate_server_set_request(session, loaded->request);
    gnutls_handshake_set_max_packet_length(session, 65536);
    *out = session;
    return PL_OK;
}

/* A certificate that our CA does not vouch for ends the handshake, whether it was required or
 * offered freely. */
static int verify_client(gnutls_session_t session)
{
    unsigned status = 0, count = 0;
    if (!gnutls_certificate_get_peers(session, &count) || !count)
        return 0; /* where one is required, GnuTLS itself refuses this */
    if (gnutls_certificate_verify_peers2(session, &status) < 0)
        return GNUTLS_E_CERTIFICATE_ERROR;
    return status ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}

static enum pl_err read_file(const char *path, gnutls_datum_t *out, struct pl_diag *diag)
{
    int code = gnutls_load_file(path, out);
    if (code >= 0)
        return PL_OK;
    pl_diag_set(diag, code, "cannot read %s", path);
    return code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_IO;
}

struct key_pair {
    gnutls_x509_crt_t *chain;
    unsigned chain_len;
    gnutls_x509_privkey_t key;
};

static void free_pair(struct key_pair *pair)
{
    for (unsigned i = 0; i < pair->chain_len; i++)
        gnutls_x509_crt_deinit(pair->chain[i]);
    gnutls_free(pair->chain);
    if (pair->key)
        gnutls_x509_privkey_deinit(pair->key);
}

static enum pl_err load_pair(
    struct pl_tls_loaded *loaded, const struct pl_tls_options *options, struct pl_diag *diag)
{
    struct key_pair pair = {0};
    gnutls_datum_t cert_text = {0}, key_text = {0};
    enum pl_err err = read_file(options->cert_file, &cert_text, diag);
    if (!err)
        err = read_file(options->key_file, &key_text, diag);
    if (err)
        goto done;
    err = PL_CONFIG;
    int code = gnutls_x509_crt_list_import2(
        &pair.chain, &pair.chain_len, &cert_text, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0 || pair.chain_len > CHAIN_MAX) {
        pl_diag_set(diag, code, "%s holds no PEM certificates that can be used: %s",
            options->cert_file, code < 0 ? gnutls_strerror(code) : "too many");
        goto done;
    }
    if (gnutls_x509_privkey_init(&pair.key) < 0) {
        err = PL_NO_MEMORY;
        goto done;
    }
    code = gnutls_x509_privkey_import2(
        pair.key, &key_text, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
    if (code < 0) {
        pl_diag_set(diag, code, "%s holds no PEM key without password: %s", options->key_file,
            gnutls_strerror(code));
        goto done;
    }
    code = gnutls_certificate_set_x509_key(
        loaded->credentials, pair.chain, (int)pair.chain_len, pair.key);
    if (code < 0) {
        pl_diag_set(diag, code, "the key %s and the certificate %s do not belong together: %s",
            options->key_file, options->cert_file, gnutls_strerror(code));
        goto done;
    }
    time_t expires = gnutls_x509_crt_get_expiration_time(pair.chain[0]);
    loaded->expires_unix_ms = expires > 0 ? (uint64_t)expires * 1000 : 1;
    err = PL_OK;
done:
    free_pair(&pair);
    free_key(&key_text);
    gnutls_free(cert_text.data);
    return err;
}

static enum pl_err load_ca(
    struct pl_tls_loaded *loaded, const struct pl_tls_options *options, struct pl_diag *diag)
{
    if (options->client_cert == PL_TLS_NO_CERT) {
        loaded->request = GNUTLS_CERT_IGNORE;
        return PL_OK;
    }
    loaded->request =
        options->client_cert == PL_TLS_REQUIRE_CERT ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST;
    if (!options->ca_file) {
        pl_diag_set(diag, 0, "client certificates need a CA file");
        return PL_CONFIG;
    }
    int count = gnutls_certificate_set_x509_trust_file(
        loaded->credentials, options->ca_file, GNUTLS_X509_FMT_PEM);
    if (count <= 0) {
        pl_diag_set(diag, count, "%s: no CA certificates: %s", options->ca_file,
            count ? gnutls_strerror(count) : "the file holds none");
        return count == GNUTLS_E_FILE_ERROR ? PL_IO : PL_CONFIG;
    }
    gnutls_certificate_set_verify_function(loaded->credentials, verify_client);
    return PL_OK;
}

static enum pl_err load_alpn(struct pl_tls_loaded *loaded, const char *const *names)
{
    size_t total = 0;
    unsigned count = 0;
    for (; names && names[count] && count < ALPN_MAX; count++)
        total += strlen(names[count]);
    if (!count)
        return PL_OK;
    loaded->alpn_text = pl_alloc(total);
    if (!loaded->alpn_text)
        return PL_NO_MEMORY;
    char *at = loaded->alpn_text;
    for (unsigned i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        memcpy(at, names[i], len);
        loaded->alpn[i] = (gnutls_datum_t){(unsigned char *)at, (unsigned)len};
        at += len;
    }
    loaded->alpn_count = count;
    return PL_OK;
}

enum pl_err pl_tls_server_load(
    struct pl_tls_server *server, const struct pl_tls_options *options, struct pl_diag *diag)
{
    struct pl_tls_loaded *loaded = pl_zalloc(sizeof *loaded);
    if (!loaded)
        return PL_NO_MEMORY;
    atomic_init(&loaded->refs, 1);
    enum pl_err err = PL_NO_MEMORY;
    const char *priorities = options->priorities ? options->priorities : default_priorities;
    const char *wrong = priorities;
    loaded->ticket_key.data = gnutls_malloc(server->ticket_key.size);
    if (!loaded->ticket_key.data)
        goto fail;
    memcpy(loaded->ticket_key.data, server->ticket_key.data, server->ticket_key.size);
    loaded->ticket_key.size = server->ticket_key.size;
    if (gnutls_certificate_allocate_credentials(&loaded->credentials) < 0)
        goto fail;
    int code = gnutls_priority_init(&loaded->priorities, priorities, &wrong);
    if (code < 0) {
        loaded->priorities = NULL;
        pl_diag_set(diag, code, "TLS priorities: %s at \"%s\"", gnutls_strerror(code), wrong);
        err = code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_CONFIG;
        goto fail;
    }
    err = load_pair(loaded, options, diag);
    if (!err)
        err = load_ca(loaded, options, diag);
    if (!err)
        err = load_alpn(loaded, options->alpn);
    if (err)
        goto fail;
    pthread_mutex_lock(&server->lock);
    struct pl_tls_loaded *before = server->loaded;
    server->loaded = loaded;
    pthread_mutex_unlock(&server->lock);
    pl_tls_loaded_unref(before);
    return PL_OK;
fail:
    pl_tls_loaded_unref(loaded);
    return err;
}

uint64_t pl_tls_server_expires_unix_ms(struct pl_tls_server *server)
{
    pthread_mutex_lock(&server->lock);
    uint64_t expires = server->loaded ? server->loaded->expires_unix_ms : 0;
    pthread_mutex_unlock(&server->lock);
    return expires;
}
