/* TLS connections, seen from a client of GnuTLS. */
#include "check.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sys/stat.h>

#include "net/net_harness.h"

static char folder[64], cert_file[128], key_file[128];

/* A self-signed certificate in a folder of our own, made by the code under test. */
static void need_certificate(void)
{
    struct pl_diag diag = {0};
    if (folder[0])
        return;
    snprintf(folder, sizeof folder, "/tmp/parley-tls-%d", (int)getpid());
    snprintf(cert_file, sizeof cert_file, "%s/made/tls/cert.pem", folder);
    snprintf(key_file, sizeof key_file, "%s/made/tls/key.pem", folder);
    CHECK_EQ(pl_tls_make_self_signed(cert_file, key_file, &diag), PL_OK);
    CHECK_STR(diag.text, "");
}

static void remove_certificate(void)
{
    static const char *const parts[] = {
        "made/tls/cert.pem", "made/tls/key.pem", "made/tls/other.pem", "made/tls", "made", "."};
    char path[160];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, parts[i]);
        (void)remove(path);
    }
    (void)rmdir(folder);
    folder[0] = 0;
}

static struct pl_tls_server *loaded(enum pl_tls_client_cert client_cert)
{
    static const char *const alpn[] = {"http/1.1", "mqtt", NULL};
    struct pl_diag diag = {0};
    need_certificate();
    struct pl_tls_server *tls = pl_tls_server_new();
    CHECK_EQ(pl_tls_server_load(tls,
                 &(struct pl_tls_options){.cert_file = cert_file,
                     .key_file = key_file,
                     .ca_file = cert_file,
                     .client_cert = client_cert,
                     .alpn = alpn},
                 &diag),
        PL_OK);
    CHECK_STR(diag.text, "");
    return tls;
}

struct client {
    int fd;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int result; /* of the handshake */
};

struct client_options {
    const char *priorities;
    const char *alpn;
    bool shows_certificate;
    bool no_check;
};

static void client_start(struct client *c, int fd, const struct client_options *options)
{
    c->fd = fd;
    gnutls_init(&c->session, GNUTLS_CLIENT);
    gnutls_certificate_allocate_credentials(&c->credentials);
    gnutls_certificate_set_x509_trust_file(c->credentials, cert_file, GNUTLS_X509_FMT_PEM);
    if (options->shows_certificate)
        gnutls_certificate_set_x509_key_file(
            c->credentials, cert_file, key_file, GNUTLS_X509_FMT_PEM);
    gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->credentials);
    gnutls_priority_set_direct(
        c->session, options->priorities ? options->priorities : "NORMAL", NULL);
    gnutls_server_name_set(c->session, GNUTLS_NAME_DNS, "localhost", 9);
    if (!options->no_check)
        gnutls_session_set_verify_cert(c->session, "localhost", 0);
    if (options->alpn) {
        gnutls_datum_t name = {
            (unsigned char *)(uintptr_t)options->alpn, (unsigned)strlen(options->alpn)};
        gnutls_alpn_set_protocols(c->session, &name, 1, 0);
    }
    gnutls_transport_set_int(c->session, fd);
    do {
        c->result = gnutls_handshake(c->session);
    } while (c->result < 0 && !gnutls_error_is_fatal(c->result));
}

static bool client_send(struct client *c, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = gnutls_record_send(c->session, at, len);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* GnuTLS comes back without data when it has read a session ticket; a few times are enough. */
static ssize_t client_read(struct client *c, void *to, size_t len)
{
    ssize_t n = GNUTLS_E_AGAIN;
    for (int i = 0; i < 4 && (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED); i++)
        n = gnutls_record_recv(c->session, to, len);
    return n;
}

static size_t client_recv(struct client *c, void *to, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = client_read(c, (char *)to + got, len - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

/* Does the server say close_notify now? */
static bool client_ended(struct client *c)
{
    char byte;
    return client_read(c, &byte, 1) == 0;
}

static void client_end(struct client *c)
{
    gnutls_deinit(c->session);
    gnutls_certificate_free_credentials(c->credentials);
    close(c->fd);
}

static void check_says(struct client *c, const char *expected)
{
    char back[256] = "";
    CHECK(client_send(c, "W", 1));
    ssize_t n = client_read(c, back, sizeof back - 1);
    CHECK(n > 0);
    CHECK_STR(back, expected);
}

TEST(a_certificate_of_our_own_is_made_once)
{
    struct stat key, cert, later;
    struct pl_diag diag = {0};
    need_certificate();
    CHECK(stat(key_file, &key) == 0);
    CHECK_EQ(key.st_mode & 0777, 0600);
    CHECK(stat(cert_file, &cert) == 0);
    CHECK_EQ(pl_tls_make_self_signed(cert_file, key_file, &diag), PL_OK);
    CHECK(stat(cert_file, &later) == 0);
    CHECK_EQ(cert.st_ino, later.st_ino);
    char other[160];
    snprintf(other, sizeof other, "%s/made/tls/other.pem", folder);
    CHECK_EQ(pl_tls_make_self_signed(cert_file, other, &diag), PL_CONFIG);
    CHECK(strstr(diag.text, other) != NULL);
}

TEST(what_cannot_be_loaded_is_told_with_its_file)
{
    struct pl_tls_server *tls = pl_tls_server_new();
    struct pl_diag diag = {0};
    char other[160];
    need_certificate();
    CHECK_EQ(pl_tls_server_expires_unix_ms(tls), 0);
    CHECK_EQ(
        pl_tls_server_load(tls,
            &(struct pl_tls_options){.cert_file = "/nowhere.pem", .key_file = key_file}, &diag),
        PL_IO);
    CHECK(strstr(diag.text, "/nowhere.pem") != NULL);
    CHECK_EQ(pl_tls_server_load(
                 tls, &(struct pl_tls_options){.cert_file = key_file, .key_file = key_file}, &diag),
        PL_CONFIG);
    CHECK(strstr(diag.text, key_file) != NULL);
    CHECK_EQ(pl_tls_server_load(tls,
                 &(struct pl_tls_options){.cert_file = cert_file, .key_file = cert_file}, &diag),
        PL_CONFIG);
    CHECK(strstr(diag.text, cert_file) != NULL);
    CHECK_EQ(pl_tls_server_load(tls,
                 &(struct pl_tls_options){.cert_file = cert_file,
                     .key_file = key_file,
                     .priorities = "NORMAL:+NO-SUCH-THING"},
                 &diag),
        PL_CONFIG);
    CHECK(strstr(diag.text, "NO-SUCH-THING") != NULL);
    /* A key of another certificate. */
    snprintf(other, sizeof other, "%s/made/tls/other.pem", folder);
    char other_cert[160];
    snprintf(other_cert, sizeof other_cert, "%s/made/tls/other-cert.pem", folder);
    CHECK_EQ(pl_tls_make_self_signed(other_cert, other, &diag), PL_OK);
    CHECK_EQ(pl_tls_server_load(
                 tls, &(struct pl_tls_options){.cert_file = cert_file, .key_file = other}, &diag),
        PL_CONFIG);
    CHECK(strstr(diag.text, "belong together") != NULL);
    remove(other);
    remove(other_cert);
    pl_tls_server_free(tls);
}

TEST(tls_1_3_and_1_2_are_spoken_and_older_ones_are_not)
{
    static const struct {
        const char *priorities;
        bool works;
    } versions[] = {
        {"NORMAL:-VERS-ALL:+VERS-TLS1.3", true},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.2", true},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.1", false},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.0", false},
    };
    struct harness h = {.tls_at_once = true, .tls = loaded(PL_TLS_NO_CERT)};
    harness_start(&h, 1, NULL, NULL);
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        struct client c;
        char back[8];
        client_start(&c, harness_connect(&h),
            &(struct client_options){.priorities = versions[i].priorities, .alpn = "mqtt"});
        if (CHECK_EQ(c.result == 0, versions[i].works) && versions[i].works) {
            CHECK(client_send(&c, "hello", 5));
            CHECK_BYTES(back, client_recv(&c, back, 5), "hello", 5);
            check_says(&c, "tls stream 127.0.0.1");
            gnutls_datum_t chosen = {0};
            CHECK_EQ(gnutls_alpn_get_selected_protocol(c.session, &chosen), 0);
            CHECK_BYTES(chosen.data, chosen.size, "mqtt", 4);
        }
        client_end(&c);
    }
    CHECK_EQ(atomic_load(&h.secured), 2);
    harness_stop(&h);
}

TEST(first_bytes_tell_tls_on_a_shared_port)
{
    struct harness h = {.tls = loaded(PL_TLS_NO_CERT)};
    char back[8];
    harness_start(&h, 1, NULL, NULL);
    struct client c;
    client_start(&c, harness_connect(&h), &(struct client_options){0});
    CHECK_EQ(c.result, 0);
    CHECK(client_send(&c, "hello", 5));
    CHECK_BYTES(back, client_recv(&c, back, 5), "hello", 5);
    client_end(&c);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, "hello", 5));
    CHECK_BYTES(back, harness_recv(fd, back, 5), "hello", 5);
    close(fd);
    harness_stop(&h);
}

TEST(a_plain_connection_turns_to_tls_when_asked)
{
    struct harness h = {.tls = loaded(PL_TLS_NO_CERT)};
    char back[8];
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, "T", 1));
    CHECK_BYTES(back, harness_recv(fd, back, 3), "tls", 3);
    struct client c;
    client_start(&c, fd, &(struct client_options){0});
    CHECK_EQ(c.result, 0);
    CHECK(client_send(&c, "hello", 5));
    CHECK_BYTES(back, client_recv(&c, back, 5), "hello", 5);
    client_end(&c);
    harness_stop(&h);
}

TEST(a_lot_goes_through_tls_both_ways_and_ends_with_close_notify)
{
    enum { LEN = 6000000, UP = 1000000 };
    struct harness h = {.tls_at_once = true, .tls = loaded(PL_TLS_NO_CERT)};
    uint8_t ask[5] = {
        'G', (uint8_t)(LEN >> 24), (uint8_t)(LEN >> 16), (uint8_t)(LEN >> 8), (uint8_t)LEN};
    uint8_t *back = malloc(LEN);
    uint8_t *up = malloc(UP + 5);
    struct client c;
    bool right = true;
    harness_start(&h, 1, NULL, NULL);
    client_start(&c, harness_connect(&h), &(struct client_options){0});
    CHECK_EQ(c.result, 0);
    up[0] = 'L';
    up[1] = 0;
    up[2] = (uint8_t)(UP >> 16);
    up[3] = (uint8_t)(UP >> 8);
    up[4] = (uint8_t)UP;
    for (size_t i = 0; i < UP; i++)
        up[5 + i] = (uint8_t)i;
    CHECK(client_send(&c, up, UP + 5));
    CHECK_BYTES(back, client_recv(&c, back, 11), "got 1000000", 11);
    CHECK(client_send(&c, ask, 5));
    usleep(50000);
    CHECK_EQ(client_recv(&c, back, LEN), LEN);
    for (size_t i = 0; i < LEN; i++)
        right &= back[i] == (uint8_t)(i & 0xffff);
    CHECK(right);
    CHECK(client_send(&c, "B", 1));
    CHECK_BYTES(back, client_recv(&c, back, 3), "bye", 3);
    CHECK(client_ended(&c));
    client_end(&c);
    free(back);
    free(up);
    harness_stop(&h);
}

TEST(a_paused_tls_connection_goes_on_where_it_was)
{
    struct harness h = {.tls_at_once = true, .tls = loaded(PL_TLS_NO_CERT)};
    char back[16];
    struct client c;
    harness_start(&h, 1, NULL, NULL);
    client_start(&c, harness_connect(&h), &(struct client_options){0});
    gnutls_record_cork(c.session);
    CHECK(client_send(&c, "Phello", 6));
    gnutls_record_uncork(c.session, GNUTLS_RECORD_WAIT);
    CHECK(client_send(&c, " world", 6));
    CHECK_BYTES(back, client_recv(&c, back, 11), "hello world", 11);
    client_end(&c);
    harness_stop(&h);
}

TEST(a_client_certificate_is_asked_for_and_checked)
{
    struct harness h = {.tls_at_once = true, .tls = loaded(PL_TLS_REQUIRE_CERT)};
    char byte;
    struct client c;
    harness_start(&h, 1, NULL, NULL);
    client_start(&c, harness_connect(&h), &(struct client_options){.shows_certificate = true});
    CHECK_EQ(c.result, 0);
    check_says(&c, "tls stream 127.0.0.1");
    client_end(&c);
    /* In TLS 1.3 the client is done before the server has seen that nothing was shown. */
    client_start(&c, harness_connect(&h), &(struct client_options){0});
    CHECK(c.result < 0 || (!client_send(&c, "W", 1) || client_recv(&c, &byte, 1) == 0));
    client_end(&c);
    harness_stop(&h);

    struct harness optional = {.tls_at_once = true, .tls = loaded(PL_TLS_REQUEST_CERT)};
    harness_start(&optional, 1, NULL, NULL);
    client_start(&c, harness_connect(&optional), &(struct client_options){0});
    CHECK_EQ(c.result, 0);
    check_says(&c, "tls stream 127.0.0.1");
    client_end(&c);
    harness_stop(&optional);
}

TEST(a_reload_serves_new_handshakes_and_leaves_the_old_alone)
{
    struct harness h = {.tls_at_once = true, .tls = loaded(PL_TLS_NO_CERT)};
    struct pl_diag diag = {0};
    char back[8];
    struct client old, new;
    harness_start(&h, 1, NULL, NULL);
    client_start(&old, harness_connect(&h), &(struct client_options){0});
    CHECK_EQ(old.result, 0);
    /* A broken one changes nothing. */
    CHECK_EQ(pl_tls_server_load(h.tls,
                 &(struct pl_tls_options){.cert_file = cert_file, .key_file = "/nowhere"}, &diag),
        PL_IO);
    char other_cert[160], other_key[160];
    snprintf(other_cert, sizeof other_cert, "%s/made/tls/other-cert.pem", folder);
    snprintf(other_key, sizeof other_key, "%s/made/tls/other.pem", folder);
    CHECK_EQ(pl_tls_make_self_signed(other_cert, other_key, &diag), PL_OK);
    client_start(&new, harness_connect(&h), &(struct client_options){0});
    CHECK_EQ(new.result, 0);
    client_end(&new);
    CHECK_EQ(pl_tls_server_load(h.tls,
                 &(struct pl_tls_options){.cert_file = other_cert, .key_file = other_key}, &diag),
        PL_OK);
    client_start(&new, harness_connect(&h), &(struct client_options){0});
    CHECK(new.result < 0); /* another one than the client trusts */
    client_end(&new);
    client_start(&new, harness_connect(&h), &(struct client_options){.no_check = true});
    CHECK_EQ(new.result, 0);
    client_end(&new);
    CHECK(client_send(&old, "hello", 5));
    CHECK_BYTES(back, client_recv(&old, back, 5), "hello", 5);
    client_end(&old);
    remove(other_cert);
    remove(other_key);
    harness_stop(&h);
}

TEST(what_is_no_handshake_gets_an_alert_and_the_end)
{
    struct harness h = {.tls_at_once = true, .tls = loaded(PL_TLS_NO_CERT)};
    uint8_t back[7];
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, "GET / HTTP/1.1\r\n\r\n", 18));
    CHECK_EQ(harness_recv(fd, back, 7), 7);
    CHECK_EQ(back[0], 0x15);
    CHECK(harness_ended(fd));
    close(fd);
    CHECK(harness_wait(&h.closed, 1));
    CHECK_EQ(atomic_load(&h.last_why), PL_PROTOCOL);
    harness_stop(&h);
}

TEST(a_websocket_runs_over_tls)
{
    static const char request[] =
        "HGET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    struct harness h = {.tls_at_once = true, .tls = loaded(PL_TLS_NO_CERT)};
    char back[256] = "";
    struct client c;
    harness_start(&h, 1, NULL, NULL);
    client_start(&c, harness_connect(&h), &(struct client_options){0});
    CHECK(client_send(&c, request, sizeof request - 1));
    size_t len = 0;
    while (
        len < sizeof back - 1 && client_recv(&c, back + len, 1) == 1 && !strstr(back, "\r\n\r\n"))
        len++;
    CHECK(strncmp(back, "HTTP/1.1 101 ", 13) == 0);
    CHECK(client_send(&c, "\x82\x81\0\0\0\0W\x89\x80\0\0\0\0\x82\x85\0\0\0\0hello", 24));
    memset(back, 0, sizeof back);
    size_t got = client_recv(&c, back, 4 + 5 + 23);
    CHECK_EQ(got, 32);
    CHECK(memcmp(back, "\x8a\x00\x82\x1ctls websocket 127.0.0.1hello", 32) == 0);
    CHECK(client_send(&c, "\x88\x80\0\0\0\0", 6));
    CHECK_BYTES(back, client_recv(&c, back, 2), "\x88\x00", 2);
    CHECK(client_ended(&c));
    client_end(&c);
    harness_stop(&h);
    remove_certificate();
}
