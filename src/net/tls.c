#include "net/tls.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "net/tls_state.h"

enum { ALPN_MAX = 8, KINDS_MAX = 8, SIGNS_MAX = 64 };

static const char challenge_alpn[] = "acme-tls/1";
static const char default_priorities[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";

struct pl_tls_loaded {
    atomic_uint refs;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priorities;
    gnutls_certificate_request_t request;
    gnutls_datum_t ticket_key;         /* owned copy */
    gnutls_datum_t alpn[ALPN_MAX + 1]; /* the last one: challenge_alpn */
    unsigned alpn_count;               /* without that */
    char *alpn_text;                   /* owned; what alpn points to */
    struct pl_tls_certificate *own;    /* shown whatever name is asked for; NULL: the store's */
    struct pl_tls_store *store;        /* borrowed; NULL: none */
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

static struct pl_tls_loaded *ref_loaded(struct pl_tls_server *server)
{
    pthread_mutex_lock(&server->lock);
    struct pl_tls_loaded *loaded = server->loaded;
    if (loaded)
        atomic_fetch_add_explicit(&loaded->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&server->lock);
    return loaded;
}

static void unref_loaded(struct pl_tls_loaded *loaded)
{
    if (!loaded || atomic_fetch_sub_explicit(&loaded->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (loaded->credentials)
        gnutls_certificate_free_credentials(loaded->credentials);
    if (loaded->priorities)
        gnutls_priority_deinit(loaded->priorities);
    free_key(&loaded->ticket_key);
    pl_tls_certificate_unref(loaded->own);
    pl_free(loaded->alpn_text);
    pl_free(loaded);
}

struct pl_tls_server *pl_tls_server_free(struct pl_tls_server *server)
{
    if (!server)
        return NULL;
    unref_loaded(server->loaded);
    free_key(&server->ticket_key);
    pthread_mutex_destroy(&server->lock);
    pl_free(server);
    return NULL;
}

bool pl_tls_is_challenge(gnutls_session_t session)
{
    gnutls_datum_t chosen = {0};
    return gnutls_alpn_get_selected_protocol(session, &chosen) >= 0 &&
           pl_bytes_equal(pl_bytes_of(chosen.data, chosen.size), pl_bytes_text(challenge_alpn));
}

/* The name that the client asks for; empty: none. */
static struct pl_bytes asked_name(gnutls_session_t session, char out[PL_TLS_NAME_MAX + 1])
{
    size_t len = PL_TLS_NAME_MAX + 1;
    unsigned type = 0;
    if (gnutls_server_name_get(session, out, &len, &type, 0) < 0 || type != GNUTLS_NAME_DNS)
        return PL_NO_BYTES;
    return pl_bytes_of(out, strnlen(out, len));
}

/* Kinds of keys whose signatures the client takes. 0: it does not tell. */
static int asked_kinds(gnutls_session_t session, gnutls_pk_algorithm_t out[KINDS_MAX])
{
    gnutls_sign_algorithm_t sign;
    int count = 0;
    for (size_t i = 0; i < SIGNS_MAX && count < KINDS_MAX; i++) {
        if (gnutls_sign_algorithm_get_requested(session, i, &sign) < 0)
            break;
        gnutls_pk_algorithm_t kind = gnutls_sign_get_pk_algorithm(sign);
        int known = 0;
        while (known < count && out[known] != kind)
            known++;
        if (known == count)
            out[count++] = kind;
    }
    return count;
}

/* GnuTLS asks what to show. Extensions are read by then; it tells kinds to clients alone. */
static int choose(gnutls_session_t session, const struct gnutls_cert_retr_st *asked,
    gnutls_pcert_st **out_chain, unsigned *out_len, gnutls_ocsp_data_st **out_ocsp,
    unsigned *out_ocsp_len, gnutls_privkey_t *out_key, unsigned *out_flags)
{
    const struct pl_tls_shown *shown = gnutls_session_get_ptr(session);
    char text[PL_TLS_NAME_MAX + 1];
    struct pl_bytes name = asked_name(session, text);
    struct pl_tls_certificate *certificate = shown->loaded->own;
    (void)asked;
    if (pl_tls_is_challenge(session)) {
        certificate = pl_tls_set_find_challenge(shown->set, name);
        /* Who checks a challenge has no certificate to show, and gets nothing but ours. */
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_IGNORE);
    } else if (!certificate) {
        gnutls_pk_algorithm_t kinds[KINDS_MAX] = {0};
        int kind_count = asked_kinds(session, kinds);
        certificate = pl_tls_set_find(shown->set, name, kinds, kind_count);
    }
    if (!certificate)
        return -1;
    *out_chain = certificate->chain;
    *out_len = certificate->chain_len;
    *out_key = certificate->key;
    *out_ocsp = NULL;
    *out_ocsp_len = 0;
    *out_flags = 0; /* all of it is the set's, which the session keeps */
    return 0;
}

static enum pl_err start_session(
    const struct pl_tls_loaded *loaded, bool has_challenge, gnutls_session_t *out)
{
    gnutls_session_t session;
    /* A resumed session would not show the client's certificate anew. */
    unsigned tickets = loaded->request == GNUTLS_CERT_IGNORE ? 0 : GNUTLS_NO_TICKETS;
    unsigned alpn_count = loaded->alpn_count + (has_challenge ? 1 : 0);
    if (gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | tickets) < 0)
        return PL_NO_MEMORY;
    if (gnutls_priority_set(session, loaded->priorities) < 0 ||
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, loaded->credentials) < 0 ||
        (!tickets && gnutls_session_ticket_enable_server(session, &loaded->ticket_key) < 0) ||
        (alpn_count && gnutls_alpn_set_protocols(
                           session, loaded->alpn, alpn_count, GNUTLS_ALPN_SERVER_PRECEDENCE) < 0)) {
        gnutls_deinit(session);
        return PL_NO_MEMORY;
    }
    gnutls_certificate_server_set_request(session, loaded->request);
    gnutls_handshake_set_max_packet_length(session, 65536);
    *out = session;
    return PL_OK;
}

enum pl_err pl_tls_shown_begin(
    struct pl_tls_shown *shown, struct pl_tls_server *server, gnutls_session_t *out)
{
    struct pl_tls_loaded *loaded = ref_loaded(server);
    if (!loaded)
        return PL_UNSUPPORTED;
    struct pl_tls_set *set = loaded->store ? pl_tls_store_ref(loaded->store) : NULL;
    enum pl_err err = start_session(loaded, set && pl_tls_set_has_challenge(set), out);
    if (err) {
        pl_tls_set_unref(set);
        unref_loaded(loaded);
        return err;
    }
    shown->loaded = loaded;
    shown->set = set;
    gnutls_session_set_ptr(*out, shown);
    return PL_OK;
}

void pl_tls_shown_done(struct pl_tls_shown *shown)
{
    unref_loaded(shown->loaded);
    pl_tls_set_unref(shown->set);
    *shown = (struct pl_tls_shown){0};
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
    loaded->alpn_text = pl_alloc(total + sizeof challenge_alpn);
    if (!loaded->alpn_text)
        return PL_NO_MEMORY;
    char *at = loaded->alpn_text;
    for (unsigned i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        memcpy(at, names[i], len);
        loaded->alpn[i] = (gnutls_datum_t){(unsigned char *)at, (unsigned)len};
        at += len;
    }
    memcpy(at, challenge_alpn, sizeof challenge_alpn - 1);
    loaded->alpn[count] = (gnutls_datum_t){(unsigned char *)at, sizeof challenge_alpn - 1};
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
    loaded->store = options->store;
    gnutls_certificate_set_retrieve_function3(loaded->credentials, choose);
    err = PL_OK;
    if (options->cert_file)
        err = pl_tls_certificate_read(options->cert_file, options->key_file, &loaded->own, diag);
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
    unref_loaded(before);
    return PL_OK;
fail:
    unref_loaded(loaded);
    return err;
}

uint64_t pl_tls_server_expires_unix_ms(struct pl_tls_server *server)
{
    struct pl_tls_loaded *loaded = ref_loaded(server);
    uint64_t expires = 0;
    if (loaded && loaded->own)
        expires = pl_tls_certificate_expires_unix_ms(loaded->own);
    else if (loaded && loaded->store)
        expires = pl_tls_store_expires_unix_ms(loaded->store);
    unref_loaded(loaded);
    return expires;
}
