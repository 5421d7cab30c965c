/* What an order is made of: the key and what it signs, requests, challenges, names of files. */
#include "check.h"

#include <gnutls/abstract.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme/acme.h"
#include "acme/cache.h"
#include "acme/key.h"
#include "acme/x509.h"
#include "base/alloc.h"
#include "base/text.h"
#include "net/made_certificate.h"
#include "net/tls_state.h"

/* The key of RFC 7515, appendix A.3, as ring writes it: without parameters in the inner part. */
static const uint8_t known_key[] = {0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07,
    0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20, 0x8e, 0x9b, 0x10, 0x9e, 0x71, 0x90,
    0x98, 0xbf, 0x98, 0x04, 0x87, 0xdf, 0x1f, 0x5d, 0x77, 0xe9, 0xcb, 0x29, 0x60, 0x6e, 0xbe, 0xd2,
    0x26, 0x3b, 0x5f, 0x57, 0xc2, 0x13, 0xdf, 0x84, 0xf4, 0xb2, 0xa1, 0x44, 0x03, 0x42, 0x00, 0x04,
    0x7f, 0xcd, 0xce, 0x27, 0x70, 0xf6, 0xc4, 0x5d, 0x41, 0x83, 0xcb, 0xee, 0x6f, 0xdb, 0x4b, 0x7b,
    0x58, 0x07, 0x33, 0x35, 0x7b, 0xe9, 0xef, 0x13, 0xba, 0xcf, 0x6e, 0x3c, 0x7b, 0xd1, 0x54, 0x45,
    0xc7, 0xf1, 0x44, 0xcd, 0x1b, 0xbd, 0x9b, 0x7e, 0x87, 0x2c, 0xdf, 0xed, 0xb9, 0xee, 0xb9, 0xf4,
    0xb3, 0x69, 0x5d, 0x6e, 0xa9, 0x0b, 0x24, 0xad, 0x8a, 0x46, 0x23, 0x28, 0x85, 0x88, 0xe5, 0xad};

static struct pl_acme_key *known(void)
{
    struct pl_acme_key *key = NULL;
    CHECK_EQ(pl_acme_key_import(pl_bytes_of(known_key, sizeof known_key), &key), PL_OK);
    return key;
}

TEST(an_account_of_the_original_is_read_and_has_its_thumbprint)
{
    struct pl_acme_key *key = known(), *again = NULL;
    uint8_t *der = NULL;
    size_t len = 0;
    CHECK_STR(pl_acme_key_thumbprint(key), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    CHECK_EQ(pl_acme_key_export(key, &der, &len), PL_OK);
    CHECK_EQ(pl_acme_key_import(pl_bytes_of(der, len), &again), PL_OK);
    CHECK_STR(pl_acme_key_thumbprint(again), pl_acme_key_thumbprint(key));
    pl_free(der);
    pl_acme_key_free(again);
    pl_acme_key_free(key);
}

TEST(what_is_no_key_of_that_kind_is_refused)
{
    struct pl_acme_key *key = NULL;
    uint8_t broken[sizeof known_key];
    CHECK_EQ(pl_acme_key_import(PL_NO_BYTES, &key), PL_MALFORMED);
    CHECK_EQ(pl_acme_key_import(PL_BYTES("nonsense"), &key), PL_MALFORMED);
    for (size_t len = 0; len < sizeof known_key; len += 7)
        CHECK_EQ(pl_acme_key_import(pl_bytes_of(known_key, len), &key), PL_MALFORMED);
    memcpy(broken, known_key, sizeof broken);
    broken[22] ^= 1; /* another curve */
    CHECK_EQ(pl_acme_key_import(pl_bytes_of(broken, sizeof broken), &key), PL_MALFORMED);
    CHECK(key == NULL);
}

/* The member, decoded. */
static size_t decode(const json_t *jws, const char *name, uint8_t out[2000])
{
    const char *text = json_string_value(json_object_get(jws, name));
    size_t len = 0;
    CHECK(text && pl_base64_decode(pl_bytes_text(text), true, out, &len) == PL_OK);
    out[len] = 0;
    return len;
}

static bool is_signed(const json_t *jws)
{
    char input[3000];
    uint8_t raw[2000];
    gnutls_datum_t der = {0};
    gnutls_privkey_t key;
    gnutls_pubkey_t public;
    gnutls_x509_privkey_t x509;
    const gnutls_datum_t known_der = {(unsigned char *)(uintptr_t)known_key, sizeof known_key};
    CHECK_EQ(decode(jws, "signature", raw), 64);
    const gnutls_datum_t r = {raw, 32}, s = {raw + 32, 32};
    gnutls_encode_rs_value(&der, &r, &s);
    snprintf(input, sizeof input, "%s.%s", json_string_value(json_object_get(jws, "protected")),
        json_string_value(json_object_get(jws, "payload")));
    const gnutls_datum_t signed_text = {(unsigned char *)input, (unsigned)strlen(input)};
    gnutls_x509_privkey_init(&x509);
    gnutls_x509_privkey_import_pkcs8(
        x509, &known_der, GNUTLS_X509_FMT_DER, NULL, GNUTLS_PKCS_PLAIN);
    gnutls_privkey_init(&key);
    gnutls_privkey_import_x509(key, x509, 0);
    gnutls_pubkey_init(&public);
    gnutls_pubkey_import_privkey(public, key, 0, 0);
    int code = gnutls_pubkey_verify_data2(public, GNUTLS_SIGN_ECDSA_SHA256, 0, &signed_text, &der);
    gnutls_pubkey_deinit(public);
    gnutls_privkey_deinit(key);
    gnutls_x509_privkey_deinit(x509);
    gnutls_free(der.data);
    return code >= 0;
}

TEST(requests_are_signed_with_the_key_itself_or_the_account)
{
    struct pl_acme_key *key = known();
    static const char shown[] = "{\"alg\":\"ES256\",\"jwk\":{\"crv\":\"P-256\",\"kty\":\"EC\","
                                "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
                                "\"nonce\":\"n0nce\",\"url\":\"https://a.test/new\"}";
    static const struct {
        struct pl_acme_request request;
        const char *head, *payload;
    } cases[] = {
        {{.url = "https://a.test/new", .nonce = "n0nce", .payload = {(const uint8_t *)"{}", 2}},
            shown, "{}"},
        {{.url = "https://a.test/o/1", .nonce = "n", .account = "https://a.test/acc/1"},
            "{\"alg\":\"ES256\",\"kid\":\"https://a.test/acc/1\",\"nonce\":\"n\","
            "\"url\":\"https://a.test/o/1\"}",
            ""},
    };
    /* Numbers of a signature that begin with zeros come up once in a while. */
    for (size_t i = 0; i < 600; i++) {
        char *body = NULL;
        uint8_t part[2000];
        size_t n = i % 2;
        CHECK_EQ(pl_acme_key_sign(key, &cases[n].request, &body), PL_OK);
        json_t *jws = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
        pl_free(body);
        REQUIRE(jws);
        if (i < 2) {
            decode(jws, "protected", part);
            CHECK_STR((char *)part, cases[n].head);
            decode(jws, "payload", part);
            CHECK_STR((char *)part, cases[n].payload);
        }
        CHECK(is_signed(jws));
        json_decref(jws);
    }
    pl_acme_key_free(key);
}

TEST(a_key_is_bound_to_an_account_elsewhere_by_its_secret)
{
    struct pl_acme_key *key = known();
    struct pl_bytes secret = PL_BYTES("a secret of thirty-two bytes ...");
    char *body = NULL, input[1000];
    uint8_t part[2000], expected[32];
    REQUIRE(pl_acme_key_bind(key, "https://a.test/new", "kid-1", secret, &body) == PL_OK);
    json_t *jws = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    pl_free(body);
    REQUIRE(jws);
    decode(jws, "protected", part);
    CHECK_STR((char *)part, "{\"alg\":\"HS256\",\"kid\":\"kid-1\",\"url\":\"https://a.test/new\"}");
    decode(jws, "payload", part);
    CHECK_STR((char *)part,
        "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}");
    snprintf(input, sizeof input, "%s.%s", json_string_value(json_object_get(jws, "protected")),
        json_string_value(json_object_get(jws, "payload")));
    gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret.data, secret.len, input, strlen(input), expected);
    CHECK_BYTES(part, decode(jws, "signature", part), expected, sizeof expected);
    json_decref(jws);
    pl_acme_key_free(key);
}

TEST(files_of_the_folder_have_the_names_of_the_original)
{
    static const char directory[] = "https://acme-v02.api.letsencrypt.org/directory";
    static const char *const contacts[] = {"mailto:admin@example.test"};
    static const char *const domains[] = {"b.example.test", "a.example.test"};
    char name[PL_ACME_CACHE_NAME_MAX];
    pl_acme_cache_name("cached_account_", contacts, 1, directory, name);
    CHECK_STR(name, "cached_account_2GOBWJt2coaSosLPek-mbU8DHEnstEulC_MCj1wlQ1w");
    pl_acme_cache_name("cached_account_", NULL, 0, directory, name);
    CHECK_STR(name, "cached_account_XnbTFRfs1mQOU8kW7TeI64kk-OHAL_EoQ84DHXSb9D4");
    pl_acme_cache_name("cached_cert_", domains, 2, directory, name);
    CHECK_STR(name, "cached_cert_JJfgktTMWUokQK-jKjfA0cECjlkO50JcR-5PLxGvuHo");
}

TEST(what_is_kept_comes_back_and_is_nobody_elses)
{
    char folder[64], path[128], *text = NULL;
    size_t len = 0;
    struct pl_diag diag = {0};
    struct stat about;
    snprintf(folder, sizeof folder, "/tmp/parley-acme-%d/a", (int)getpid());
    CHECK_EQ(pl_acme_cache_read(folder, "x", &text, &len, &diag), PL_NOT_FOUND);
    CHECK_EQ(pl_acme_cache_write(folder, "x", PL_BYTES("one"), &diag), PL_OK);
    CHECK_EQ(pl_acme_cache_write(folder, "x", PL_BYTES("other"), &diag), PL_OK);
    CHECK_EQ(pl_acme_cache_read(folder, "x", &text, &len, &diag), PL_OK);
    CHECK_BYTES(text, len, "other", 5);
    pl_free(text);
    CHECK(stat(folder, &about) == 0);
    CHECK_EQ(about.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/x", folder);
    CHECK(stat(path, &about) == 0);
    CHECK_EQ(about.st_mode & 0777, 0600);
    (void)remove(path);
    (void)rmdir(folder);
    folder[strlen(folder) - 2] = 0;
    (void)rmdir(folder);
}

TEST(a_request_names_all_in_order_with_an_empty_subject_and_a_new_key)
{
    static const char *const domains[] = {"b.test", "a.test", "www.a.test"};
    struct pl_acme_csr csr, other;
    gnutls_x509_crq_t request;
    char subject[100] = "";
    size_t len = sizeof subject;
    unsigned bits = 0;
    CHECK_EQ(pl_acme_csr_make(domains, 3, &csr), PL_OK);
    CHECK_EQ(pl_acme_csr_make(domains, 3, &other), PL_OK);
    CHECK(strcmp(csr.key, other.key) != 0);
    CHECK(strncmp(csr.key, "-----BEGIN PRIVATE KEY-----\n", 28) == 0);
    const gnutls_datum_t der = {csr.der, (unsigned)csr.len};
    gnutls_x509_crq_init(&request);
    CHECK_EQ(gnutls_x509_crq_import(request, &der, GNUTLS_X509_FMT_DER), 0);
    CHECK_EQ(gnutls_x509_crq_verify(request, 0), 0);
    CHECK_EQ(gnutls_x509_crq_get_pk_algorithm(request, &bits), GNUTLS_PK_ECDSA);
    CHECK_EQ(bits, 256);
    gnutls_x509_crq_get_dn(request, subject, &len);
    CHECK_STR(subject, "");
    for (unsigned i = 0; i < 3; i++) {
        char name[100] = "";
        len = sizeof name;
        CHECK_EQ(gnutls_x509_crq_get_subject_alt_name(request, i, name, &len, NULL, NULL),
            GNUTLS_SAN_DNSNAME);
        CHECK_STR(name, domains[i]);
    }
    gnutls_x509_crq_deinit(request);
    pl_acme_csr_done(&csr);
    pl_acme_csr_done(&other);
}

TEST(a_challenge_is_a_self_signed_certificate_with_the_hash_as_rfc_8737_says)
{
    static const uint8_t digest[] = {0x04, 0x20, 0xeb, 0x5a, 0xc1, 0x67, 0xfe, 0x24, 0x9c, 0x76,
        0xe5, 0x3b, 0x43, 0x0d, 0xa3, 0x11, 0x6c, 0x5d, 0x9f, 0xde, 0x4c, 0x55, 0x07, 0xba, 0x6d,
        0x01, 0xe8, 0x85, 0x51, 0x6e, 0x1b, 0xd4, 0x9f, 0x92};
    struct pl_tls_certificate *challenge = NULL;
    gnutls_x509_crt_t cert;
    uint8_t value[64];
    char name[100] = "";
    size_t len = sizeof value;
    unsigned critical = 0;
    REQUIRE(pl_acme_challenge_make("a.test", "token.thumbprint", &challenge) == PL_OK);
    CHECK(pl_tls_certificate_covers(challenge, PL_BYTES("a.test")));
    CHECK_EQ(challenge->chain_len, 1);
    CHECK_EQ(challenge->name_count, 1);
    gnutls_x509_crt_init(&cert);
    CHECK_EQ(gnutls_x509_crt_import(cert, &challenge->chain[0].cert, GNUTLS_X509_FMT_DER), 0);
    CHECK_EQ(
        gnutls_x509_crt_get_extension_by_oid(cert, "1.3.6.1.5.5.7.1.31", 0, value, &len, &critical),
        0);
    CHECK_EQ(critical, 1);
    CHECK_BYTES(value, len, digest, sizeof digest);
    CHECK(gnutls_x509_crt_check_issuer(cert, cert) != 0);
    len = sizeof name;
    CHECK_EQ(gnutls_x509_crt_get_subject_alt_name(cert, 0, name, &len, NULL), GNUTLS_SAN_DNSNAME);
    CHECK_STR(name, "a.test");
    CHECK(gnutls_x509_crt_get_subject_alt_name(cert, 1, name, &len, NULL) < 0);
    gnutls_x509_crt_deinit(cert);
    pl_tls_certificate_unref(challenge);
}

TEST(a_certificate_for_other_names_or_another_time_is_refused_by_name)
{
    static const char *const names[] = {"a.test", NULL}, *const both[] = {"a.test", "b.test"};
    struct made made = made_certificate(names, GNUTLS_PK_ECDSA, -60, 3600);
    struct pl_tls_certificate *certificate = NULL;
    struct pl_diag diag = {0};
    uint64_t now = (uint64_t)time(NULL) * 1000;
    CHECK_EQ(pl_tls_certificate_parse(pl_bytes_of(made.cert.data, made.cert.size),
                 pl_bytes_of(made.key.data, made.key.size), &certificate, &diag),
        PL_OK);
    CHECK_EQ(pl_acme_certificate_check(certificate, names, 1, now, &diag), PL_OK);
    CHECK_EQ(pl_acme_certificate_check(certificate, both, 2, now, &diag), PL_CONFIG);
    CHECK_STR(diag.text, "the certificate is not for b.test");
    CHECK_EQ(pl_acme_certificate_check(certificate, names, 1, now - 120000, &diag), PL_CONFIG);
    CHECK_STR(diag.text, "the certificate is not valid yet; is the clock right?");
    CHECK_EQ(pl_acme_certificate_check(certificate, names, 1, now + 7200000, &diag), PL_CONFIG);
    CHECK_STR(diag.text, "the certificate has expired");
    pl_tls_certificate_unref(certificate);
    made_free(&made);
}

TEST(tokens_are_answered_at_their_path_alone)
{
    struct pl_acme_tokens *tokens = pl_acme_tokens_new();
    char out[PL_ACME_ANSWER_MAX];
    struct pl_bytes path = PL_BYTES("/.well-known/acme-challenge/abc");
    CHECK_EQ(pl_acme_tokens_find(tokens, path, out), 0);
    CHECK_EQ(pl_acme_tokens_add(tokens, "abc.thumb"), PL_OK);
    CHECK_EQ(pl_acme_tokens_add(tokens, "abcd.thumb"), PL_OK);
    CHECK_BYTES(out, pl_acme_tokens_find(tokens, path, out), "abc.thumb", 9);
    CHECK_EQ(pl_acme_tokens_find(tokens, PL_BYTES("/abc"), out), 0);
    CHECK_EQ(pl_acme_tokens_find(tokens, PL_BYTES("/.well-known/acme-challenge/"), out), 0);
    CHECK_EQ(pl_acme_tokens_find(tokens, PL_BYTES("/.well-known/acme-challenge/ab"), out), 0);
    pl_acme_tokens_clear(tokens);
    CHECK_EQ(pl_acme_tokens_find(tokens, path, out), 0);
    pl_acme_tokens_free(tokens);
}
