/* Certificates chosen by name, seen from a client of GnuTLS. */
#include "check.h"

#include "net/made_certificate.h"
#include "net/net_harness.h"
#include "net/tls_store.h"

static struct pl_tls_certificate *made_for(
    const char *const *names, gnutls_pk_algorithm_t kind, long from, long to)
{
    struct made made = made_certificate(names, kind, from, to);
    struct pl_tls_certificate *out = NULL;
    struct pl_diag diag = {0};
    CHECK_EQ(pl_tls_certificate_parse(pl_bytes_of(made.cert.data, made.cert.size),
                 pl_bytes_of(made.key.data, made.key.size), &out, &diag),
        PL_OK);
    CHECK_STR(diag.text, "");
    made_free(&made);
    return out;
}

static struct pl_tls_certificate *made(const char *first, const char *second)
{
    const char *const names[] = {first, second, NULL};
    return made_for(names, GNUTLS_PK_ECDSA, -60, 3600);
}

static void set_slot(struct pl_tls_store *store, enum pl_tls_slot slot,
    struct pl_tls_certificate *first, struct pl_tls_certificate *second)
{
    struct pl_tls_certificate *const both[] = {first, second};
    CHECK_EQ(pl_tls_store_set(store, slot, both, second ? 2 : first ? 1 : 0), PL_OK);
    pl_tls_certificate_unref(first);
    pl_tls_certificate_unref(second);
}

struct look {
    const char *name;       /* asked for; NULL: none */
    const char *alpn;       /* offered; NULL: none */
    const char *priorities; /* NULL: GnuTLS' own */
    int result;             /* of the handshake */
    char shown[80];         /* first name of the certificate */
    bool is_ended;          /* the server says goodbye by itself */
};

static void read_shown(gnutls_session_t session, struct look *look)
{
    unsigned count = 0;
    const gnutls_datum_t *list = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t leaf;
    gnutls_x509_crt_init(&leaf);
    size_t len = sizeof look->shown;
    if (list && gnutls_x509_crt_import(leaf, &list[0], GNUTLS_X509_FMT_DER) == 0)
        gnutls_x509_crt_get_subject_alt_name(leaf, 0, look->shown, &len, NULL);
    gnutls_x509_crt_deinit(leaf);
}

/* One handshake, and what it shows. */
static const char *look_at(struct harness *h, struct look *look)
{
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int fd = harness_connect(h);
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_certificate_allocate_credentials(&credentials);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_priority_set_direct(session, look->priorities ? look->priorities : "NORMAL", NULL);
    if (look->name)
        gnutls_server_name_set(session, GNUTLS_NAME_DNS, look->name, strlen(look->name));
    if (look->alpn) {
        gnutls_datum_t alpn = {
            (unsigned char *)(uintptr_t)look->alpn, (unsigned)strlen(look->alpn)};
        gnutls_alpn_set_protocols(session, &alpn, 1, 0);
    }
    gnutls_transport_set_int(session, fd);
    do {
        look->result = gnutls_handshake(session);
    } while (look->result < 0 && !gnutls_error_is_fatal(look->result));
    if (look->result == 0) {
        char byte;
        read_shown(session, look);
        ssize_t n = GNUTLS_E_AGAIN;
        /* It comes back without data for each session ticket. */
        while (look->alpn && (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED))
            n = gnutls_record_recv(session, &byte, 1);
        look->is_ended = n == 0;
    }
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
    return look->shown;
}

static const char *shown_for(struct harness *h, const char *name)
{
    static struct look look;
    look = (struct look){.name = name};
    return look_at(h, &look);
}

static struct pl_tls_server *showing(struct pl_tls_store *store)
{
    struct pl_diag diag = {0};
    struct pl_tls_server *tls = pl_tls_server_new();
    CHECK_EQ(pl_tls_server_load(tls, &(struct pl_tls_options){.store = store}, &diag), PL_OK);
    return tls;
}

TEST(a_client_is_shown_the_certificate_of_the_name_that_it_asks_for)
{
    struct pl_tls_store *store = pl_tls_store_new();
    struct harness h = {.tls_at_once = true, .tls = showing(store)};
    harness_start(&h, 1, NULL, NULL);
    set_slot(store, PL_TLS_CONFIGURED, made("default.example", NULL),
        made("wild.example", "*.wild.example"));
    set_slot(store, PL_TLS_ACME, made("chat.example", "www.chat.example"),
        made("one.wild.example", NULL));
    CHECK_STR(shown_for(&h, "chat.example"), "chat.example");
    CHECK_STR(shown_for(&h, "WWW.chat.Example"), "chat.example");
    CHECK_STR(shown_for(&h, "two.wild.example"), "wild.example");
    /* The name itself comes before a wildcard, whichever is first. */
    CHECK_STR(shown_for(&h, "one.wild.example"), "one.wild.example");
    /* A wildcard is one label. */
    CHECK_STR(shown_for(&h, "a.two.wild.example"), "default.example");
    CHECK_STR(shown_for(&h, "elsewhere.example"), "default.example");
    CHECK_STR(shown_for(&h, NULL), "default.example");
    harness_stop(&h);
    pl_tls_store_free(store);
}

TEST(who_asks_for_no_name_sees_the_operators_then_the_issued_then_the_made_one)
{
    struct pl_tls_store *store = pl_tls_store_new();
    struct harness h = {.tls_at_once = true, .tls = showing(store)};
    harness_start(&h, 1, NULL, NULL);
    struct look look = {.name = "any.example"};
    look_at(&h, &look);
    CHECK(look.result < 0); /* there is nothing to show */
    CHECK_EQ(pl_tls_server_expires_unix_ms(h.tls), 0);
    set_slot(store, PL_TLS_FALLBACK, made("localhost", NULL), NULL);
    CHECK_STR(shown_for(&h, NULL), "localhost");
    CHECK(pl_tls_server_expires_unix_ms(h.tls) > pl_clock_unix_ms());
    set_slot(store, PL_TLS_ACME, made("issued.example", NULL), NULL);
    CHECK_STR(shown_for(&h, NULL), "issued.example");
    CHECK_STR(shown_for(&h, "localhost"), "localhost");
    set_slot(store, PL_TLS_CONFIGURED, made("own.example", NULL), NULL);
    CHECK_STR(shown_for(&h, NULL), "own.example");
    set_slot(store, PL_TLS_CONFIGURED, NULL, NULL);
    CHECK_STR(shown_for(&h, NULL), "issued.example");
    harness_stop(&h);
    pl_tls_store_free(store);
}

TEST(a_client_that_takes_rsa_alone_is_shown_rsa)
{
    static const char *const names[] = {"rsa.example", "both.example", NULL};
    static const char rsa_only[] = "NORMAL:-SIGN-ALL:+SIGN-RSA-SHA256:+SIGN-RSA-PSS-RSAE-SHA256";
    struct pl_tls_store *store = pl_tls_store_new();
    struct harness h = {.tls_at_once = true, .tls = showing(store)};
    harness_start(&h, 1, NULL, NULL);
    set_slot(store, PL_TLS_CONFIGURED, made("ecdsa.example", "both.example"),
        made_for(names, GNUTLS_PK_RSA, -60, 3600));
    struct look look = {.name = "both.example", .priorities = rsa_only};
    CHECK_STR(look_at(&h, &look), "rsa.example");

    CHECK_STR(shown_for(&h, "both.example"), "ecdsa.example");
    harness_stop(&h);
    pl_tls_store_free(store);
}

TEST(a_challenge_is_shown_for_its_name_and_acme_tls_1_alone_and_then_the_end)
{
    struct pl_tls_store *store = pl_tls_store_new();
    struct harness h = {.tls_at_once = true, .tls = showing(store)};
    harness_start(&h, 1, NULL, NULL);
    set_slot(store, PL_TLS_CONFIGURED, made("own.example", NULL), NULL);
    struct look look = {.name = "new.example", .alpn = "acme-tls/1"};
    /* There is none: the protocol is unknown, and a plain session begins. */
    CHECK_STR(shown_for(&h, "new.example"), "own.example");
    set_slot(store, PL_TLS_CHALLENGE, made("new.example", NULL), NULL);
    unsigned secured = atomic_load(&h.secured);
    CHECK_STR(look_at(&h, &look), "new.example");
    CHECK(look.is_ended);
    CHECK_EQ(atomic_load(&h.secured), secured); /* its owner never saw it */
    CHECK_STR(shown_for(&h, "new.example"), "own.example");
    look = (struct look){.name = "other.example", .alpn = "acme-tls/1"};
    look_at(&h, &look);
    CHECK(look.result < 0);
    look = (struct look){.alpn = "acme-tls/1"};
    look_at(&h, &look);
    CHECK(look.result < 0);
    set_slot(store, PL_TLS_CHALLENGE, NULL, NULL);
    CHECK_STR(shown_for(&h, "new.example"), "own.example");
    harness_stop(&h);
    pl_tls_store_free(store);
}

TEST(a_challenge_is_shown_by_a_listener_of_another_certificate_that_wants_one_of_clients_too)
{
    char folder[64], cert_file[80], key_file[80];
    struct pl_diag diag = {0};
    struct pl_tls_store *store = pl_tls_store_new();
    struct harness h = {.tls_at_once = true, .tls = pl_tls_server_new()};
    snprintf(folder, sizeof folder, "/tmp/parley-tls-store-%d", (int)getpid());
    snprintf(cert_file, sizeof cert_file, "%s/cert.pem", folder);
    snprintf(key_file, sizeof key_file, "%s/key.pem", folder);
    CHECK_EQ(pl_tls_make_self_signed(cert_file, key_file, &diag), PL_OK);
    CHECK_EQ(pl_tls_server_load(h.tls,
                 &(struct pl_tls_options){.cert_file = cert_file,
                     .key_file = key_file,
                     .store = store,
                     .ca_file = cert_file,
                     .client_cert = PL_TLS_REQUIRE_CERT},
                 &diag),
        PL_OK);
    harness_start(&h, 1, NULL, NULL);
    set_slot(store, PL_TLS_CONFIGURED, made("own.example", NULL), NULL);
    set_slot(store, PL_TLS_CHALLENGE, made("own.example", NULL), NULL);
    struct look look = {.name = "own.example", .alpn = "acme-tls/1"};
    CHECK_STR(look_at(&h, &look), "own.example");
    CHECK(look.is_ended);
    CHECK_EQ(atomic_load(&h.secured), 0);
    /* Else it shows its own, whatever name is asked for. */
    look = (struct look){.name = "own.example", .alpn = "mqtt"};
    CHECK_STR(look_at(&h, &look), "localhost");
    harness_stop(&h);
    pl_tls_store_free(store);
    (void)remove(cert_file);
    (void)remove(key_file);
    (void)rmdir(folder);
}

TEST(certificates_are_swapped_under_handshakes_and_none_fails)
{
    struct pl_tls_store *store = pl_tls_store_new();
    struct harness h = {.tls_at_once = true, .tls = showing(store)};
    harness_start(&h, 2, NULL, NULL);
    set_slot(store, PL_TLS_ACME, made("swap.example", NULL), NULL);
    for (int i = 0; i < 20; i++) {
        set_slot(store, PL_TLS_ACME, made("swap.example", NULL), NULL);
        CHECK_STR(shown_for(&h, "swap.example"), "swap.example");
    }
    harness_stop(&h);
    pl_tls_store_free(store);
}

TEST(what_is_no_certificate_or_another_ones_key_is_refused)
{
    static const char *const names[] = {"a.example", NULL};
    struct made one = made_certificate(names, GNUTLS_PK_ECDSA, -60, 3600);
    struct made other = made_certificate(names, GNUTLS_PK_ECDSA, -60, 3600);
    struct pl_bytes cert = pl_bytes_of(one.cert.data, one.cert.size);
    struct pl_bytes key = pl_bytes_of(one.key.data, one.key.size);
    struct pl_tls_certificate *out = NULL;
    struct pl_diag diag = {0};
    CHECK_EQ(
        pl_tls_certificate_parse(cert, pl_bytes_of(other.key.data, other.key.size), &out, &diag),
        PL_CONFIG);
    CHECK(strstr(diag.text, "belong together") != NULL);
    CHECK_EQ(pl_tls_certificate_parse(key, key, &out, &diag), PL_CONFIG);
    CHECK_EQ(pl_tls_certificate_parse(cert, cert, &out, &diag), PL_CONFIG);
    CHECK_EQ(pl_tls_certificate_parse(PL_NO_BYTES, PL_NO_BYTES, &out, &diag), PL_CONFIG);
    CHECK(out == NULL);
    CHECK_EQ(pl_tls_certificate_parse(cert, key, &out, &diag), PL_OK);
    CHECK(pl_tls_certificate_covers(out, PL_BYTES("A.Example")));
    CHECK(!pl_tls_certificate_covers(out, PL_BYTES("b.example")));
    CHECK(pl_tls_certificate_expires_unix_ms(out) > pl_clock_unix_ms());
    CHECK(pl_tls_certificate_starts_unix_ms(out) < pl_clock_unix_ms());
    pl_tls_certificate_unref(out);
    made_free(&one);
    made_free(&other);
}

TEST(no_failing_allocation_harms_the_store)
{
    struct pl_tls_store *store = pl_tls_store_new();
    struct pl_tls_certificate *one = made("one.example", NULL);
    struct pl_tls_certificate *two = made("two.example", NULL);
    CHECK_EQ(pl_tls_store_set(store, PL_TLS_ACME, &one, 1), PL_OK);
    uint64_t expires = pl_tls_store_expires_unix_ms(store);
    for (long after = 0;; after++) {
        pl_alloc_fail(after, 0);
        enum pl_err err = pl_tls_store_set(store, PL_TLS_ACME, &two, 1);
        pl_alloc_fail(-1, 0);
        if (!err)
            break;
        CHECK_EQ(err, PL_NO_MEMORY);
        CHECK_EQ(pl_tls_store_expires_unix_ms(store), expires);
    }
    pl_tls_certificate_unref(one);
    pl_tls_certificate_unref(two);
    pl_tls_store_free(store);
}
