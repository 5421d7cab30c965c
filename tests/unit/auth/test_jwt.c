/* Tokens: each algorithm, each refusal, what becomes of the claims, the RFCs' own examples. */
#include "check.h"

#include "auth/jwt_key.h"
#include "tokens.h"

#define NOW_MS 1700000000000u

static struct pl_diag diag;

/* A key set of one file, with the algorithm and kid that the config names. */
static enum pl_err load(
    const char *file, const char *algorithm, const char *kid, struct pl_jwt_keys **out)
{
    struct pl_jwt_key_config key = {.file = file, .algorithm = algorithm, .kid = kid};
    struct pl_jwt_config config = {.keys = &key, .key_count = 1};
    diag = (struct pl_diag){0};
    return pl_jwt_keys_load(&config, &diag, out);
}

static struct pl_jwt_keys *load_secret(void)
{
    struct pl_jwt_keys *keys = NULL;
    CHECK_EQ(load(file_write("secret", TOKEN_SECRET "\n"), NULL, NULL, &keys), PL_OK);
    return keys;
}

/* What a config says of a token; *out may be NULL. */
static enum pl_err verify(struct pl_jwt_keys *keys, const struct pl_jwt_config *config,
    const char *token, uint64_t now_ms, struct pl_identity **out)
{
    struct pl_identity *identity = pl_identity_new();
    diag = (struct pl_diag){0};
    enum pl_err err = pl_jwt_verify(&(struct pl_jwt_ring){.sets = {keys}, .count = 1}, config,
        pl_bytes_text(token), now_ms, identity, &diag);
    if (err == PL_OK && out)
        *out = identity;
    else
        pl_identity_unref(identity);
    return err;
}

/* With the secret and a config that asks for nothing. */
static enum pl_err verify_plain(const char *token)
{
    struct pl_jwt_keys *keys = load_secret();
    enum pl_err err = verify(keys, &(struct pl_jwt_config){0}, token, NOW_MS, NULL);
    pl_jwt_keys_unref(keys);
    return err;
}

static bool is_refused(const char *token, const char *why)
{
    enum pl_err err = verify_plain(token);
    bool ok = err == PL_BAD_LOGIN && strstr(diag.text, why);
    if (!ok)
        printf("    %d %s\n", err, diag.text);
    return ok;
}

static void check_attribute(
    const struct pl_identity *identity, const char *name, const char *expected)
{
    struct pl_bytes value = pl_identity_attribute(identity, name);
    CHECK_BYTES(value.data, value.len, expected, strlen(expected));
}

TEST(each_algorithm_signs_and_verifies_with_keys_of_its_own)
{
    token_make_keys("rsa", GNUTLS_PK_RSA, 2048);
    token_make_keys("p256", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
    token_make_keys("ed25519", GNUTLS_PK_EDDSA_ED25519, 256);
    file_write("secret", TOKEN_SECRET);
    static const struct {
        const char *algorithm, *private_key, *public_key;
    } rows[] = {
        {"HS256", "secret", "secret"},
        {"HS384", "secret", "secret"},
        {"HS512", "secret", "secret"},
        {"RS256", "rsa.key", "rsa.pub"},
        {"ES256", "p256.key", "p256.pub"},
        {"EdDSA", "ed25519.key", "ed25519.pub"},
    };
    enum { COUNT = sizeof(rows) / sizeof(rows[0]) };
    struct pl_jwt_keys *keys[COUNT];
    char *tokens[COUNT];
    for (int i = 0; i < COUNT; i++) {
        struct pl_jwt_key_config key = {
            .file = file_path(rows[i].private_key), .algorithm = rows[i].algorithm};
        REQUIRE(
            pl_jwt_sign(&key, "{\"sub\":\"bob\",\"role\":\"device\"}", &diag, &tokens[i]) == PL_OK);
        REQUIRE(load(file_path(rows[i].public_key), rows[i].algorithm, NULL, &keys[i]) == PL_OK);
    }
    /* And with no other's, though the three secrets are the same bytes. */
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COUNT; j++)
            CHECK_EQ(verify(keys[j], &(struct pl_jwt_config){0}, tokens[i], NOW_MS, NULL),
                i == j ? PL_OK : PL_BAD_LOGIN);
    }
    /* A signature with one bit that is another. */
    for (int i = 0; i < COUNT; i++) {
        char *middle = strrchr(tokens[i], '.') + 10;
        *middle = *middle == 'A' ? 'B' : 'A';
        CHECK_EQ(
            verify(keys[i], &(struct pl_jwt_config){0}, tokens[i], NOW_MS, NULL), PL_BAD_LOGIN);
    }
    for (int i = 0; i < COUNT; i++) {
        pl_jwt_keys_unref(keys[i]);
        pl_free(tokens[i]);
    }
}

TEST(es256_numbers_keep_their_leading_zeros)
{
    struct pl_jwt_keys *keys;
    token_make_keys("p256", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
    REQUIRE(load(file_path("p256.pub"), NULL, NULL, &keys) == PL_OK);
    struct pl_jwt_key_config key = {.file = file_path("p256.key")};
    /* In 600 signatures there are some with a short r or s. */
    for (int i = 0; i < 600; i++) {
        char claims[32], *token = NULL;
        snprintf(claims, sizeof(claims), "{\"sub\":\"%d\"}", i);
        REQUIRE(pl_jwt_sign(&key, claims, &diag, &token) == PL_OK);
        CHECK_EQ(strlen(strrchr(token, '.') + 1), 86);
        CHECK_EQ(verify(keys, &(struct pl_jwt_config){0}, token, NOW_MS, NULL), PL_OK);
        pl_free(token);
    }
    pl_jwt_keys_unref(keys);
}

static const char rfc7515_claims[] =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlf"
    "Q";

/* One JWK in a file, one token of the RFC: good just before its end and expired at it. */
static void check_rfc7515(const char *jwk, const char *header, const char *signature)
{
    struct pl_jwt_keys *keys;
    struct pl_jwt_config config = {.default_role = "x"};
    char token[2048];
    snprintf(token, sizeof(token), "%s.%s.%s", header, rfc7515_claims, signature);
    REQUIRE(load(file_write("rfc", jwk), NULL, NULL, &keys) == PL_OK);
    CHECK_EQ(verify(keys, &config, token, 1300819379999, NULL), PL_OK);
    CHECK_EQ(verify(keys, &config, token, 1300819380000, NULL), PL_EXPIRED);
    token[strlen(token) - 20] ^= 1;
    CHECK_EQ(verify(keys, &config, token, 1300819379999, NULL), PL_BAD_LOGIN);
    pl_jwt_keys_unref(keys);
}

TEST(rfc_7515_appendix_a1_hs256)
{
    check_rfc7515("{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"
                  "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}",
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

TEST(rfc_7515_appendix_a2_rs256)
{
    check_rfc7515(
        "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-"
        "Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_"
        "7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb"
        "3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FR"
        "WyuXpoQ\",\"e\":\"AQAB\"}",
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2F"
        "p5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQB"
        "MHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeY"
        "I2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");
}

TEST(rfc_7515_appendix_a3_es256)
{
    check_rfc7515("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPH"
                  "vRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
}

#define RFC8037_X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

TEST(rfc_8037_appendix_a4_ed25519)
{
    static const char jwk[] = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" RFC8037_X "\"}";
    static const char private_jwk[] = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"nWGxne_"
                                      "9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\","
                                      "\"x\":\"" RFC8037_X "\"}";
    static const char text[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    static const char signature[] =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    uint8_t bytes[80], made[PL_JWT_SIGNATURE_MAX];
    size_t len, made_len;
    REQUIRE(pl_base64_decode(pl_bytes_text(signature), true, bytes, &len) == PL_OK);
    struct pl_jwt_key key = {0}, signer = {0};
    json_t *parsed = json_loads(jwk, 0, NULL), *private_parsed = json_loads(private_jwk, 0, NULL);
    CHECK_EQ(pl_jwt_key_from_jwk(&key, "rfc", parsed, false, &diag), PL_OK);
    CHECK_EQ(pl_jwt_key_from_jwk(&signer, "rfc", private_parsed, true, &diag), PL_OK);
    if (key.algorithm && signer.algorithm) {
        CHECK_STR(key.algorithm->name, "EdDSA");
        CHECK(pl_jwt_key_verifies(&key, pl_bytes_text(text), pl_bytes_of(bytes, len)));
        CHECK(!pl_jwt_key_verifies(&key, pl_bytes_text(text), pl_bytes_of(bytes, len - 1)));
        CHECK_EQ(pl_jwt_key_sign(&signer, pl_bytes_text(text), made, &made_len), PL_OK);
        CHECK_BYTES(made, made_len, bytes, len);
    }
    pl_jwt_key_done(&key);
    pl_jwt_key_done(&signer);
    json_decref(parsed);
    json_decref(private_parsed);
}

TEST(the_algorithm_none_finds_no_key)
{
    struct pl_jwt_keys *keys = load_secret();
    /* {"alg":"none"}, {"alg":"None"}, {"alg":"nOnE"} . {} . */
    static const char *const tokens[] = {
        "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJOb25lIn0.e30.", "eyJhbGciOiJuT25FIn0.e30."};
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(verify(keys, &(struct pl_jwt_config){0}, tokens[i], NOW_MS, NULL), PL_BAD_LOGIN);
        CHECK(strstr(diag.text, "alg is not supported"));
    }
    /* No signature under an algorithm that we have. */
    CHECK_EQ(verify(keys, &(struct pl_jwt_config){0}, "eyJhbGciOiJIUzI1NiJ9.e30.", NOW_MS, NULL),
        PL_BAD_LOGIN);
    pl_jwt_keys_unref(keys);
}

TEST(a_public_key_is_never_a_secret_for_hmac)
{
    token_make_keys("rsa", GNUTLS_PK_RSA, 2048);
    struct pl_jwt_keys *keys;
    const char *path = file_path("rsa.pub");
    REQUIRE(load(path, NULL, NULL, &keys) == PL_OK);
    /* The classic: the attacker knows the public key's file and signs with its bytes. */
    char token[4096];
    const char *pem = file_text(path);
    strcpy(token, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ");
    uint8_t mac[32];
    REQUIRE(gnutls_hmac_fast(GNUTLS_MAC_SHA256, pem, strlen(pem), token, strlen(token), mac) >= 0);
    size_t len = strlen(token);
    token[len++] = '.';
    len += pl_base64_encode(pl_bytes_of(mac, sizeof(mac)), true, token + len);
    token[len] = 0;
    CHECK_EQ(verify(keys, &(struct pl_jwt_config){0}, token, NOW_MS, NULL), PL_BAD_LOGIN);
    pl_jwt_keys_unref(keys);
    /* Nor may the config say so. */
    CHECK_EQ(load(path, "HS256", NULL, &keys), PL_CONFIG);
    CHECK(strstr(diag.text, "this key is for RS256, not for HS256"));
}

TEST(shapes_that_are_no_token_are_refused)
{
    static const char *const bad[] = {"", ".", "..", "a.b", "a.b.c.d", ".e30.x", "e30..x",
        "e30.e30.x y", "e30.e30.x=", "e30=.e30.x", "e3+.e30.x", "e30.e30.\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(is_refused(bad[i], "not three parts of base64url"));
        CHECK(!pl_jwt_looks_like(pl_bytes_text(bad[i])));
    }
    /* One letter cannot be base64, nor bits behind the last byte that are not zero. */
    CHECK(is_refused("eyJhbGciOiJIUzI1NiJ9.e30.A", "not three parts of base64url"));
    CHECK(is_refused("eyJhbGciOiJIUzI1NiJ9.e30.AB", "not three parts of base64url"));
    CHECK(is_refused(token_of("[]", "{}"), "no JSON object"));
    CHECK(is_refused(token_of("{", "{}"), "no JSON object"));
    CHECK(is_refused(token_of("\"x\"", "{}"), "no JSON object"));
    CHECK(is_refused(token_of("{\"alg\":\"HS256\"} x", "{}"), "no JSON object"));
    CHECK(is_refused(token_of("{}", "{}"), "names no alg"));
    CHECK(is_refused(token_of("{\"alg\":1}", "{}"), "names no alg"));
    CHECK(is_refused(token_of("{\"alg\":\"HS256\",\"kid\":1}", "{}"), "kid is no text"));
    CHECK(is_refused(token_with("[]"), "no JSON object"));
    CHECK(is_refused(token_with("{\"sub\":\"\xff\"}"), "no JSON object"));
    CHECK(is_refused(token_with("{\"sub\":\"a\\u0000b\"}"), "no JSON object"));
}

TEST(a_password_is_taken_for_a_token_only_if_its_first_part_says_so)
{
    CHECK(pl_jwt_looks_like(pl_bytes_text(token_with("{}"))));
    CHECK(pl_jwt_looks_like(PL_BYTES("eyJhbGciOiJub25lIn0.e30.")));
    CHECK(!pl_jwt_looks_like(PL_BYTES("correct.horse.battery")));
    CHECK(!pl_jwt_looks_like(PL_BYTES("e30.e30.x")));
    CHECK(!pl_jwt_looks_like(PL_NO_BYTES));
}

TEST(a_token_has_at_most_8_kib)
{
    char claims[PL_JWT_MAX], text[PL_JWT_MAX];
    for (int pad = 5900; pad < 6200; pad++) {
        memset(text, 'x', sizeof(text));
        snprintf(claims, sizeof(claims), "{\"sub\":\"b\",\"x\":\"%.*s\"}", pad, text);
        const char *token = token_with(claims);
        if (strlen(token) <= PL_JWT_MAX)
            CHECK_EQ(verify_plain(token), PL_OK);
        else
            CHECK(is_refused(token, "longer than 8 KiB"));
    }
}

TEST(nesting_ends_at_16)
{
    char claims[256] = "{\"sub\":\"b\",\"x\":", *at = claims + strlen(claims);
    memset(at, '[', 15);
    memset(at + 15, ']', 15);
    strcpy(at + 30, "}");
    CHECK_EQ(verify_plain(token_with(claims)), PL_OK);
    memset(at, '[', 16);
    memset(at + 16, ']', 16);
    strcpy(at + 32, "}");
    CHECK(is_refused(token_with(claims), "nested too deeply"));
    /* In a text they are letters. */
    CHECK_EQ(
        verify_plain(token_with("{\"sub\":\"b\",\"x\":\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"}")), PL_OK);
}

TEST(a_key_that_stands_twice_is_refused_wherever_it_is)
{
    CHECK(is_refused(token_of("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "{}"), "key twice"));
    CHECK(is_refused(token_with("{\"sub\":\"a\",\"sub\":\"b\"}"), "key twice"));
    CHECK(is_refused(token_with("{\"x\":{\"y\":1,\"y\":2}}"), "key twice"));
}

TEST(what_must_be_understood_and_is_not_refuses_the_token)
{
    CHECK(is_refused(token_of("{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", "{}"), "crit"));
    CHECK(is_refused(token_of("{\"alg\":\"HS256\",\"crit\":[]}", "{}"), "crit"));
    CHECK(
        is_refused(token_of("{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}", "{}"), "crit"));
    CHECK(is_refused(token_of("{\"alg\":\"HS256\",\"cty\":\"JWT\"}", "{}"), "token inside"));
    CHECK(is_refused(token_of("{\"alg\":\"HS256\",\"cty\":\"jwt\"}", "{}"), "token inside"));
}

TEST(times_are_checked_with_leeway)
{
    struct pl_jwt_keys *keys = load_secret();
    struct pl_jwt_config strict = {0}, lenient = {.leeway_ms = 60000};
    struct pl_identity *identity;
    static const struct {
        const char *claims;
        enum pl_err strict, lenient;
    } rows[] = {
        {"{\"exp\":1700000001}", PL_OK, PL_OK},
        {"{\"exp\":1700000000.5}", PL_OK, PL_OK},
        {"{\"exp\":1700000000}", PL_EXPIRED, PL_OK},
        {"{\"exp\":1699999941}", PL_EXPIRED, PL_OK},
        {"{\"exp\":1699999940}", PL_EXPIRED, PL_EXPIRED},
        {"{\"exp\":-1}", PL_EXPIRED, PL_EXPIRED},
        {"{\"exp\":0}", PL_EXPIRED, PL_EXPIRED},
        {"{\"exp\":\"1700000001\"}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"exp\":null}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"exp\":1e300}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"exp\":9223372036854775807}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"exp\":92233720368547758080}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"nbf\":1700000000}", PL_OK, PL_OK},
        {"{\"nbf\":1700000001}", PL_BAD_LOGIN, PL_OK},
        {"{\"nbf\":1700000061}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"nbf\":true}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"iat\":1700000001}", PL_BAD_LOGIN, PL_OK},
        {"{\"iat\":1700000061}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"iat\":[]}", PL_BAD_LOGIN, PL_BAD_LOGIN},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *token = token_with(rows[i].claims);
        bool ok = CHECK_EQ(verify(keys, &strict, token, NOW_MS, NULL), rows[i].strict);
        ok = CHECK_EQ(verify(keys, &lenient, token, NOW_MS, NULL), rows[i].lenient) && ok;
        if (!ok)
            printf("    %s\n", rows[i].claims);
    }
    REQUIRE(verify(keys, &lenient, token_with("{\"exp\":1700000100,\"iat\":1699999999}"), NOW_MS,
                &identity) == PL_OK);
    CHECK_EQ(identity->expires_unix_ms, 1700000160000);
    CHECK_EQ(identity->issued_unix_ms, 1699999999000);
    pl_identity_unref(identity);
    REQUIRE(verify(keys, &strict, token_with("{}"), NOW_MS, &identity) == PL_OK);
    CHECK(identity->expires_unix_ms == PL_NEVER);
    pl_identity_unref(identity);
    struct pl_jwt_config must = {.requires_expiry = true};
    CHECK_EQ(verify(keys, &must, token_with("{}"), NOW_MS, NULL), PL_BAD_LOGIN);
    CHECK(strstr(diag.text, "exp is missing"));
    pl_jwt_keys_unref(keys);
}

TEST(issuer_and_audience_are_those_of_the_config)
{
    struct pl_jwt_keys *keys = load_secret();
    static const char *const ours[] = {"parley", "plant"};
    struct pl_jwt_config none = {0}, both = {.issuers = {ours, 2}, .audiences = {ours, 2}};
    static const struct {
        const char *claims;
        enum pl_err none, both;
    } rows[] = {
        {"{}", PL_OK, PL_BAD_LOGIN},
        {"{\"iss\":\"parley\"}", PL_OK, PL_BAD_LOGIN},
        {"{\"aud\":\"parley\"}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"iss\":\"parley\",\"aud\":\"plant\"}", PL_BAD_LOGIN, PL_OK},
        {"{\"iss\":\"parley\",\"aud\":[\"x\",\"plant\"]}", PL_BAD_LOGIN, PL_OK},
        {"{\"iss\":\"parley\",\"aud\":[\"x\"]}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"iss\":\"parley\",\"aud\":[]}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"iss\":\"parley\",\"aud\":[1]}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"iss\":\"parley\",\"aud\":null}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"iss\":\"parleyx\",\"aud\":\"plant\"}", PL_BAD_LOGIN, PL_BAD_LOGIN},
        {"{\"iss\":[\"parley\"],\"aud\":\"plant\"}", PL_BAD_LOGIN, PL_BAD_LOGIN},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *token = token_with(rows[i].claims);
        CHECK_EQ(verify(keys, &none, token, NOW_MS, NULL), rows[i].none);
        CHECK_EQ(verify(keys, &both, token, NOW_MS, NULL), rows[i].both);
    }
    pl_jwt_keys_unref(keys);
}

TEST(claims_become_an_identity)
{
    struct pl_jwt_keys *keys = load_secret();
    struct pl_identity *identity;
    REQUIRE(verify(keys, &(struct pl_jwt_config){0},
                token_with("{\"sub\":\"auth0|5f7\",\"role\":\"device\",\"realm\":\"plant\","
                           "\"jti\":\"t1\",\"site\":\"a.b\",\"shift\":3,\"on\":true,\"f\":1.5,"
                           "\"nothing\":null,\"https://x/y\":\"z\",\"o\":{\"a\":1},"
                           "\"allowed_subjects\":[\"a.>\",\"b\"],\"exp\":1700000001}"),
                NOW_MS, &identity) == PL_OK);
    CHECK(pl_bytes_equal(identity->user, PL_BYTES("auth0|5f7")));
    CHECK(pl_bytes_equal(identity->role, PL_BYTES("device")));
    CHECK(pl_bytes_equal(identity->method, PL_BYTES("jwt")));
    CHECK(pl_bytes_equal(identity->token_id, PL_BYTES("t1")));
    check_attribute(identity, "user_id", "auth0|5f7");
    check_attribute(identity, "realm", "plant");
    check_attribute(identity, "site", "a.b");
    check_attribute(identity, "shift", "3");
    check_attribute(identity, "on", "true");
    check_attribute(identity, "allowed_subjects", "[\"a.>\",\"b\"]");
    static const char *const left_out[] = {
        "f", "nothing", "https://x/y", "o", "exp", "jti", "role"};
    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
        check_attribute(identity, left_out[i], "");
    CHECK(pl_jwt_keys_have(keys, pl_identity_attribute(identity, ".key")));
    CHECK(!pl_jwt_keys_have(keys, PL_BYTES("0000000000000000")));
    pl_identity_unref(identity);
    pl_jwt_keys_unref(keys);
}

TEST(a_user_is_a_text_or_an_integer_as_javascript_prints_it)
{
    struct pl_jwt_keys *keys = load_secret();
    static const struct {
        const char *claims, *user; /* NULL: refused */
    } rows[] = {
        {"{\"user_id\":139871238127389}", "139871238127389"},
        {"{\"user_id\":-7}", "-7"},
        {"{\"user_id\":9007199254740992}", "9007199254740992"},
        {"{\"user_id\":9007199254740993}", NULL},
        {"{\"user_id\":9007199254740994}", NULL},
        {"{\"user_id\":\"68946\",\"sub\":\"x\"}", "68946"},
        {"{\"sub\":\"x\"}", "x"},
        {"{}", ""},
        {"{\"user_id\":17.0}", "17"},
        {"{\"user_id\":1e3}", "1000"},
        {"{\"user_id\":-0.0}", "0"},
        {"{\"user_id\":1.5}", NULL},
        {"{\"user_id\":1e300}", NULL},
        {"{\"user_id\":null,\"sub\":\"x\"}", NULL},
        {"{\"user_id\":true}", NULL},
        {"{\"user_id\":{}}", NULL},
        {"{\"user_id\":\"\"}", NULL},
        {"{\"user_id\":\"a\\nb\"}", NULL},
        {"{\"sub\":[\"x\"]}", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pl_identity *identity = NULL;
        enum pl_err err =
            verify(keys, &(struct pl_jwt_config){0}, token_with(rows[i].claims), NOW_MS, &identity);
        CHECK_EQ(err, rows[i].user ? PL_OK : PL_BAD_LOGIN);
        if (identity)
            CHECK(pl_bytes_equal(identity->user, pl_bytes_text(rows[i].user)));
        pl_identity_unref(identity);
    }
    struct pl_jwt_config by_mail = {.user_claim = "email"};
    struct pl_identity *identity;
    REQUIRE(verify(keys, &by_mail, token_with("{\"email\":\"a@b\",\"user_id\":1,\"sub\":\"x\"}"),
                NOW_MS, &identity) == PL_OK);
    CHECK(pl_bytes_equal(identity->user, PL_BYTES("a@b")));
    check_attribute(identity, "user_id", "a@b");
    pl_identity_unref(identity);
    pl_jwt_keys_unref(keys);
}

TEST(a_role_is_the_tokens_or_the_handlers_or_the_default)
{
    struct pl_jwt_keys *keys = load_secret();
    struct pl_jwt_config config = {.handler_role = "handler", .default_role = "device"};
    static const struct {
        const char *claims, *role;
    } rows[] = {
        {"{\"role\":\"admin\",\"handler\":true}", "admin"},
        {"{\"handler\":{\"name\":\"h\"}}", "handler"},
        {"{\"handler\":[]}", "handler"},
        {"{\"handler\":1}", "handler"},
        {"{\"handler\":\"x\"}", "handler"},
        {"{\"handler\":false}", "device"},
        {"{\"handler\":null}", "device"},
        {"{\"handler\":0}", "device"},
        {"{\"handler\":\"\"}", "device"},
        {"{}", "device"},
        {"{\"role\":\"\"}", NULL},
        {"{\"role\":null}", NULL},
        {"{\"role\":7}", NULL},
        {"{\"role\":[\"admin\"]}", NULL},
        {"{\"realm\":\"\"}", NULL},
        {"{\"realm\":7}", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pl_identity *identity = NULL;
        enum pl_err err = verify(keys, &config, token_with(rows[i].claims), NOW_MS, &identity);
        CHECK_EQ(err, rows[i].role ? PL_OK : PL_BAD_LOGIN);
        if (identity)
            CHECK(pl_bytes_equal(identity->role, pl_bytes_text(rows[i].role)));
        pl_identity_unref(identity);
    }
    pl_jwt_keys_unref(keys);
}

TEST(a_token_without_role_user_and_handler_may_have_a_role_of_its_own)
{
    struct pl_jwt_keys *keys = load_secret();
    struct pl_jwt_config config = {.role_claim = "as",
        .handler_role = "handler",
        .nameless_role = "nameless",
        .default_role = "device"};
    static const struct {
        const char *claims, *user, *role;
    } rows[] = {
        {"{\"iat\":1}", "/", "nameless"},
        {"{\"role\":\"of another\"}", "/", "nameless"},
        {"{\"handler\":{\"name\":\"h\"}}", "", "handler"},
        {"{\"as\":\"admin\"}", "", "admin"},
        {"{\"user_id\":7}", "7", "device"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pl_identity *identity;
        REQUIRE(verify(keys, &config, token_with(rows[i].claims), NOW_MS, &identity) == PL_OK);
        CHECK(pl_bytes_equal(identity->user, pl_bytes_text(rows[i].user)));
        CHECK(pl_bytes_equal(identity->role, pl_bytes_text(rows[i].role)));
        CHECK_EQ(pl_identity_attribute(identity, "user_id").len, i == 4 ? 1 : 0);
        pl_identity_unref(identity);
    }
    pl_jwt_keys_unref(keys);
}

TEST(a_key_comes_from_the_environment_as_it_stands)
{
    struct pl_jwt_key_config key = {.env = "PARLEY_TEST_KEY"};
    struct pl_jwt_config config = {.keys = &key, .key_count = 1};
    struct pl_jwt_keys *keys;
    unsetenv(key.env);
    CHECK_EQ(pl_jwt_keys_load(&config, &diag, &keys), PL_CONFIG);
    CHECK(strstr(diag.text, key.env));
    setenv(key.env, "short", 1);
    CHECK_EQ(pl_jwt_keys_load(&config, &diag, &keys), PL_CONFIG);
    CHECK(strstr(diag.text, key.env) && !strstr(diag.text, "short\""));
    setenv(key.env, TOKEN_SECRET, 1);
    REQUIRE(pl_jwt_keys_load(&config, &diag, &keys) == PL_OK);
    CHECK_EQ(verify(keys, &config, token_with("{\"sub\":\"bob\"}"), NOW_MS, NULL), PL_OK);
    pl_jwt_keys_unref(keys);
    /* A line end is part of it: programs that sign with the variable do not strip one. */
    setenv(key.env, TOKEN_SECRET "\n", 1);
    REQUIRE(pl_jwt_keys_load(&config, &diag, &keys) == PL_OK);
    CHECK_EQ(verify(keys, &config, token_with("{\"sub\":\"bob\"}"), NOW_MS, NULL), PL_BAD_LOGIN);
    pl_jwt_keys_unref(keys);
    unsetenv(key.env);
}

TEST(many_claims_crowd_out_none_that_narrows)
{
    struct pl_jwt_keys *keys = load_secret();
    struct pl_identity *identity;
    char claims[4096];
    int len = snprintf(claims, sizeof(claims), "{");
    for (int i = 0; i < 200; i++)
        len += snprintf(claims + len, sizeof(claims) - (size_t)len, "\"c%d\":%d,", i, i);
    snprintf(claims + len, sizeof(claims) - (size_t)len,
        "\"deny_subjects\":[\"x\"],\"permissions\":[]}");
    REQUIRE(
        verify(keys, &(struct pl_jwt_config){0}, token_with(claims), NOW_MS, &identity) == PL_OK);
    check_attribute(identity, "deny_subjects", "[\"x\"]");
    check_attribute(identity, "permissions", "[]");
    CHECK_EQ(identity->attribute_count, 64);
    pl_identity_unref(identity);
    pl_jwt_keys_unref(keys);
}

TEST(a_kid_picks_the_key_and_keys_without_one_serve_all)
{
    static const char set[] =
        "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-"
        "EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"},{\"kty\":\"oct\",\"kid\":\"b\","
        "\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2"
        "RlZg\"}]}";
    struct pl_jwt_keys *keys;
    REQUIRE(load(file_write("set", set), NULL, NULL, &keys) == PL_OK);
    CHECK_EQ(pl_jwt_keys_count(keys), 2);
    struct pl_jwt_config config = {0};
    CHECK_EQ(verify(keys, &config, token_with("{}"), NOW_MS, NULL), PL_OK);
    CHECK_EQ(
        verify(keys, &config, token_of("{\"alg\":\"HS256\",\"kid\":\"b\"}", "{}"), NOW_MS, NULL),
        PL_OK);
    CHECK_EQ(
        verify(keys, &config, token_of("{\"alg\":\"HS256\",\"kid\":\"a\"}", "{}"), NOW_MS, NULL),
        PL_BAD_LOGIN);
    CHECK_EQ(
        verify(keys, &config, token_of("{\"alg\":\"HS256\",\"kid\":\"c\"}", "{}"), NOW_MS, NULL),
        PL_BAD_LOGIN);
    pl_jwt_keys_unref(keys);
    keys = load_secret();
    CHECK_EQ(
        verify(keys, &config, token_of("{\"alg\":\"HS256\",\"kid\":\"c\"}", "{}"), NOW_MS, NULL),
        PL_OK);
    pl_jwt_keys_unref(keys);
    REQUIRE(load(file_path("secret"), "HS256", "mine", &keys) == PL_OK);
    CHECK_EQ(
        verify(keys, &config, token_of("{\"alg\":\"HS256\",\"kid\":\"mine\"}", "{}"), NOW_MS, NULL),
        PL_OK);
    CHECK_EQ(
        verify(keys, &config, token_of("{\"alg\":\"HS256\",\"kid\":\"c\"}", "{}"), NOW_MS, NULL),
        PL_BAD_LOGIN);
    pl_jwt_keys_unref(keys);
}

#define P256_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define P256_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"

TEST(key_files_that_cannot_be_meant_are_refused_with_a_reason)
{
    token_make_keys("small", GNUTLS_PK_RSA, 1024);
    token_make_keys("p384", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1));
    token_make_keys("p256", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
    char two[8192];
    strcpy(two, file_text(file_path("p256.pub")));
    strcat(two, file_text(file_path("p384.pub")));
    file_write("two", two);
    static const struct {
        const char *name, *text, *algorithm, *why;
    } rows[] = {
        {"small.pub", NULL, NULL, "2048 to 8192 bits, this one has 1024"},
        {"p384.pub", NULL, NULL, "P-256 and Ed25519 are supported"},
        {"p256.key", NULL, NULL, "a private key; checking tokens takes the public one"},
        {"two", NULL, NULL, "one key or certificate"},
        {"p256.pub", NULL, "RS256", "for ES256, not for RS256"},
        {"missing", NULL, NULL, "No such file"},
        {"f", "", NULL, "at least 32 bytes, this one has 0"},
        {"f", "0123456789abcdef0123456789abcde", NULL, "at least 32 bytes, this one has 31"},
        {"f", "0123456789abcdef0123456789abcdef\n", "HS384", "at least 48 bytes, this one has 32"},
        {"f", TOKEN_SECRET, "RS256", "a secret is for HS256, HS384 or HS512"},
        {"f", TOKEN_SECRET, "none", "the algorithm is one of"},
        {"f", "-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----\n", NULL, "/f: "},
        {"f", "{", NULL, "/f:1: "},
        {"f", "{\"kty\":\"oct\",\"kty\":\"oct\"}", NULL, "duplicate"},
        {"f", "{}", NULL, "no key for a signature"},
        {"f", "{\"keys\":[]}", NULL, "no key for a signature"},
        {"f", "{\"keys\":[1]}", NULL, "key 1: a key is a JSON object"},
        {"f", "{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}", NULL, "at least 32 bytes, this one has 5"},
        {"f", "{\"kty\":\"oct\",\"k\":\"=\"}", NULL, "not base64url"},
        {"f", "{\"kty\":\"oct\",\"k\":\"c2hvcnQ\",\"use\":\"enc\"}", NULL,
            "no key for a signature"},
        {"f", "{\"kty\":\"oct\",\"k\":\"c2hvcnQ\",\"alg\":\"RS256\"}", NULL, "no key for a sign"},
        {"f", "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", NULL, "/f: "},
        {"f", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\"}", NULL, "/f: "},
        {"f", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\",\"y\":\"" P256_X "\"}", NULL,
            "/f: "},
        {"f",
            "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y
            "\",\"d\":\"x\"}",
            NULL, "a private key"},
        {"f", "{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"\",\"y\":\"\"}", NULL, "no key for a sig"},
        {"f", "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"\"}", NULL, "no key for a signature"},
        {"f", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}", NULL, "/f: "},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *path =
            rows[i].text ? file_write(rows[i].name, rows[i].text) : file_path(rows[i].name);
        struct pl_jwt_keys *keys = NULL;
        enum pl_err err = load(path, rows[i].algorithm, NULL, &keys);
        if (!CHECK(err == PL_CONFIG || err == PL_IO) || !CHECK(strstr(diag.text, rows[i].why)))
            printf("    %zu: %d %s, expected %s\n", i, err, diag.text, rows[i].why);
        pl_jwt_keys_unref(keys);
    }
}

TEST(a_key_set_may_hold_keys_for_other_things)
{
    static const char set[] =
        "{\"keys\":[{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"AQAB\",\"e\":\"AQAB\"},"
        "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\"},{\"kty\":\"AKP\"},"
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"key_ops\":[\"verify\"],"
        "\"x\":\"" P256_X "\",\"y\":\"" P256_Y "\"}]}";
    struct pl_jwt_keys *keys;
    REQUIRE(load(file_write("set", set), NULL, NULL, &keys) == PL_OK);
    CHECK_EQ(pl_jwt_keys_count(keys), 1);
    pl_jwt_keys_unref(keys);
    CHECK_EQ(load(file_path("set"), "ES256", NULL, &keys), PL_CONFIG);
}

TEST(a_private_jwk_signs_what_its_public_one_verifies)
{
    static const char private_jwk[] =
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k1\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y
        "\",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}";
    struct pl_jwt_key_config key = {.file = file_write("private", private_jwk)};
    char *token, *header, *claims;
    REQUIRE(pl_jwt_sign(&key, "{\"sub\":\"bob\"}", &diag, &token) == PL_OK);
    struct pl_jwt_keys *keys;
    REQUIRE(
        load(file_write("public", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k1\",\"x\":\"" P256_X
                                  "\",\"y\":\"" P256_Y "\"}"),
            NULL, NULL, &keys) == PL_OK);
    CHECK_EQ(verify(keys, &(struct pl_jwt_config){0}, token, NOW_MS, NULL), PL_OK);
    pl_jwt_keys_unref(keys);
    REQUIRE(pl_jwt_decode(pl_bytes_text(token), &diag, &header, &claims) == PL_OK);
    CHECK(strstr(header, "\"kid\": \"k1\""));
    CHECK_STR(claims, "{\n  \"sub\": \"bob\"\n}");
    pl_free(token);
    pl_free(header);
    pl_free(claims);
    key.file = file_path("public");
    CHECK_EQ(pl_jwt_sign(&key, "{}", &diag, &token), PL_CONFIG);
    key.file = file_path("missing");
    CHECK_EQ(pl_jwt_sign(&key, "{}", &diag, &token), PL_IO);
    CHECK_EQ(pl_jwt_decode(PL_BYTES("a.b"), &diag, &header, &claims), PL_BAD_LOGIN);
}

TEST(an_allocation_that_fails_is_no_login_and_no_leak)
{
    struct pl_jwt_keys *keys = load_secret();
    const char *token = token_with("{\"sub\":\"bob\",\"role\":\"x\",\"a\":\"b\",\"jti\":\"c\","
                                   "\"permissions\":[]}");
    for (long after = 0;; after++) {
        struct pl_identity *identity = pl_identity_new();
        pl_alloc_fail(after, 1);
        enum pl_err err = pl_jwt_verify(&(struct pl_jwt_ring){.sets = {keys}, .count = 1},
            &(struct pl_jwt_config){0}, pl_bytes_text(token), NOW_MS, identity, &diag);
        pl_alloc_fail(-1, 0);
        pl_identity_unref(identity);
        if (err == PL_OK)
            break;
        CHECK_EQ(err, PL_NO_MEMORY);
    }
    pl_jwt_keys_unref(keys);
    for (long after = 0;; after++) {
        pl_alloc_fail(after, 0);
        enum pl_err err = load(file_path("secret"), "HS256", "k", &keys);
        pl_alloc_fail(-1, 0);
        if (err == PL_OK)
            break;
        CHECK_EQ(err, PL_NO_MEMORY);
    }
    pl_jwt_keys_unref(keys);
}
