/* The proofs of WAMP's methods of authentication, with the standard's own examples. */
#include "check.h"

#include <sodium.h>

#include "auth/proof.h"
#include "base/text.h"

static const char challenge[] =
    "{\"authid\":\"peter\",\"authrole\":\"user\",\"authmethod\":\"wampcra\",\"authprovider\":"
    "\"static\",\"nonce\":\"AAECAwQFBgcICQoLDA0ODw==\",\"timestamp\":\"2026-01-02T03:04:05.678Z\","
    "\"session\":3251278072152162}";

static struct pl_secret parsed(const char *text, struct pl_arena *memory)
{
    struct pl_secret secret = {0};
    CHECK_EQ(pl_secret_parse(pl_bytes_text(text), memory, &secret), PL_OK);
    return secret;
}

TEST(a_wampcra_signature_of_the_secret_itself_is_taken)
{
    struct pl_arena memory = {0};
    /* The base64 of "prq7+YkJ1/KlW1X0YczMHw==", which is the secret. */
    struct pl_secret secret = parsed("$wampcra$cHJxNytZa0oxL0tsVzFYMFljek1Idz09", &memory);
    CHECK(!secret.salt.len);
    CHECK(pl_cra_is_proved(secret.key, pl_bytes_text(challenge),
        PL_BYTES("cTV/y3gM+y45hK7EtXjP8PsQ21DXqa/lyqfyC9gOp8o=")));
    CHECK(!pl_cra_is_proved(secret.key, pl_bytes_text(challenge),
        PL_BYTES("dTV/y3gM+y45hK7EtXjP8PsQ21DXqa/lyqfyC9gOp8o=")));
    CHECK(!pl_cra_is_proved(
        secret.key, PL_BYTES("{}"), PL_BYTES("cTV/y3gM+y45hK7EtXjP8PsQ21DXqa/lyqfyC9gOp8o=")));
    CHECK(!pl_cra_is_proved(secret.key, pl_bytes_text(challenge), PL_NO_BYTES));
    CHECK(!pl_cra_is_proved(secret.key, pl_bytes_text(challenge), PL_BYTES("****")));
    pl_arena_done(&memory);
}

TEST(a_wampcra_signature_of_a_salted_password_is_taken)
{
    struct pl_arena memory = {0};
    uint8_t derived[PL_KEY_LEN];
    char text[44];
    REQUIRE(pl_derive(PL_BYTES("secret1"), PL_BYTES("salt123"), 1000, derived, sizeof derived) ==
            PL_OK);
    pl_base64_encode(pl_bytes_of(derived, sizeof derived), false, text);
    CHECK(pl_bytes_equal(
        pl_bytes_of(text, sizeof text), PL_BYTES("64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc=")));
    struct pl_secret secret = parsed(
        "$wampcra$i=1000,l=32$salt123$64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc=", &memory);
    CHECK_EQ(secret.iterations, 1000);
    CHECK_EQ(secret.key_len, 32);
    CHECK(pl_bytes_equal(secret.salt, PL_BYTES("salt123")));
    CHECK(pl_cra_is_proved(secret.key, pl_bytes_text(challenge),
        PL_BYTES("S6i3mg6+eHLVw84KG/o/YmLnrn5cr//KnD5nqpt3EtY=")));
    pl_arena_done(&memory);
}

static struct pl_scram example(void)
{
    return (struct pl_scram){
        .name = PL_BYTES("user"),
        .client_nonce = PL_BYTES("egVDf3DMJh0="),
        .nonce = PL_BYTES("egVDf3DMJh0=SBmkFIh7sSo="),
        .salt = PL_BYTES("aBc+fx0NAVA="),
        .iterations = 4096,
        .binding = PL_BYTES("biws"),
    };
}

TEST(a_scram_proof_is_taken_and_proves_us_too)
{
    struct pl_arena memory = {0};
    struct pl_secret secret = parsed("$scram$pbkdf2$i=4096$aBc+fx0NAVA=$"
                                     "0fCr7EYY8YwoS0VQMtES7YBGB7DlELfCsFIeOvlTzkc=$"
                                     "aCtxeIoGuHVmsyd50QLzSXZWPgYI9rjZqGZ7ldyNmc4=",
        &memory);
    struct pl_scram scram = example();
    char verifier[PL_VERIFIER_LEN];
    REQUIRE(pl_scram_is_proved(&scram, &secret.scram[0],
        PL_BYTES("L1uwjEEL7BdbtlWMKxNcQ1A/CmNjct+7xdAguB/rpnA="), verifier));
    CHECK(pl_bytes_equal(pl_bytes_of(verifier, sizeof verifier),
        PL_BYTES("AyTAljdPHv74Zx+gn+6DqiFnl4XOZUXpC7k/pSkjBOg=")));
    CHECK(!pl_scram_is_proved(&scram, &secret.scram[0],
        PL_BYTES("L1uwjEEL7BdbtlWMKxNcQ1A/CmNjct+7xdAguB/rpnE="), verifier));
    scram.nonce = PL_BYTES("egVDf3DMJh0=SBmkFIh7sSp=");
    CHECK(!pl_scram_is_proved(&scram, &secret.scram[0],
        PL_BYTES("L1uwjEEL7BdbtlWMKxNcQ1A/CmNjct+7xdAguB/rpnA="), verifier));
    pl_arena_done(&memory);
}

TEST(scram_keys_are_those_of_the_example)
{
    static const uint8_t salt[] = {0x68, 0x17, 0x3e, 0x7f, 0x1d, 0x0d, 0x01, 0x50};
    uint8_t salted[PL_KEY_LEN], expected[PL_KEY_LEN];
    struct pl_scram_keys keys;
    char stored[44], server[44];
    REQUIRE(pl_derive(PL_BYTES("pencil"), pl_bytes_of(salt, sizeof salt), 4096, salted,
                sizeof salted) == PL_OK);
    REQUIRE(pl_hex_decode_key(
        PL_BYTES("4073f00b9b900fb7cbe2de11a72871f4b981616c85329569c7807f849ad23e38"), expected));
    CHECK(memcmp(salted, expected, sizeof salted) == 0);
    REQUIRE(pl_scram_keys(pl_bytes_of(salted, sizeof salted), &keys) == PL_OK);
    pl_base64_encode(pl_bytes_of(keys.stored, sizeof keys.stored), false, stored);
    pl_base64_encode(pl_bytes_of(keys.server, sizeof keys.server), false, server);
    CHECK(pl_bytes_equal(pl_bytes_of(stored, sizeof stored),
        PL_BYTES("0fCr7EYY8YwoS0VQMtES7YBGB7DlELfCsFIeOvlTzkc=")));
    CHECK(pl_bytes_equal(pl_bytes_of(server, sizeof server),
        PL_BYTES("aCtxeIoGuHVmsyd50QLzSXZWPgYI9rjZqGZ7ldyNmc4=")));
}

#define PUBLIC_KEY "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
#define SIGNATURE                                                                                  \
    "10e62b0c40734fd1445e9786a0b87557eaae9f122e88a921c27ed835574110becd1a724a66dcfbf58f8498caa2c4" \
    "9122fe83862dd9ff7130db666da84aba280e"
#define FS "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

TEST(a_cryptosign_signature_is_taken_for_its_own_challenge_alone)
{
    struct pl_arena memory = {0};
    uint8_t sent[PL_KEY_LEN], other[PL_KEY_LEN] = {1};
    memset(sent, 0xff, sizeof sent);
    REQUIRE(sodium_init() >= 0);
    struct pl_secret secret = parsed("$cryptosign$" PUBLIC_KEY, &memory);
    CHECK(pl_cryptosign_is_proved(secret.bytes, sent, PL_NO_BYTES, PL_BYTES(SIGNATURE FS)));
    /* An old answer, signed rightly at its time. */
    CHECK(!pl_cryptosign_is_proved(secret.bytes, other, PL_NO_BYTES, PL_BYTES(SIGNATURE FS)));
    CHECK(!pl_cryptosign_is_proved(other, sent, PL_NO_BYTES, PL_BYTES(SIGNATURE FS)));
    CHECK(!pl_cryptosign_is_proved(secret.bytes, sent, PL_NO_BYTES, PL_BYTES(SIGNATURE)));
    CHECK(!pl_cryptosign_is_proved(secret.bytes, sent, PL_NO_BYTES, PL_NO_BYTES));
    pl_arena_done(&memory);
}

TEST(the_server_signs_as_the_standards_example_does)
{
    uint8_t seed[32], public_key[32], secret_key[64], sent[PL_KEY_LEN];
    char signature[PL_CRYPTOSIGN_LEN];
    REQUIRE(sodium_init() >= 0);
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (uint8_t)i;
    crypto_sign_seed_keypair(public_key, secret_key, seed);
    memset(sent, 0xff, sizeof sent);
    pl_cryptosign_sign(secret_key, sent, PL_NO_BYTES, signature);
    CHECK(pl_bytes_equal(pl_bytes_of(signature, sizeof signature), PL_BYTES(SIGNATURE FS)));
}

TEST(a_channel_id_is_put_over_the_challenge)
{
    uint8_t seed[32], public_key[32], secret_key[64], sent[PL_KEY_LEN], id[PL_KEY_LEN],
        signed_bytes[96];
    char hex[192];
    REQUIRE(sodium_init() >= 0);
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (uint8_t)i;
    crypto_sign_seed_keypair(public_key, secret_key, seed);
    memset(sent, 0xa5, sizeof sent);
    memset(id, 0x0f, sizeof id);
    for (size_t i = 0; i < sizeof sent; i++)
        signed_bytes[64 + i] = sent[i] ^ id[i];
    crypto_sign_detached(signed_bytes, NULL, signed_bytes + 64, 32, secret_key);
    pl_hex_encode(pl_bytes_of(signed_bytes, sizeof signed_bytes), hex);
    struct pl_bytes response = pl_bytes_of(hex, sizeof hex);
    CHECK(pl_cryptosign_is_proved(public_key, sent, pl_bytes_of(id, sizeof id), response));
    CHECK(!pl_cryptosign_is_proved(public_key, sent, PL_NO_BYTES, response));
}

TEST(what_is_made_of_a_password_is_read_again)
{
    static const enum pl_secret_kind kinds[] = {
        PL_SECRET_CRA, PL_SECRET_CRA, PL_SECRET_SCRAM, PL_SECRET_SCRAM};
    for (int way = PL_SECRET_WAY_CRA; way <= PL_SECRET_WAY_SCRAM_ARGON2ID; way++) {
        char text[PL_SECRET_TEXT_MAX], again[PL_SECRET_TEXT_MAX];
        struct pl_arena memory = {0};
        REQUIRE(
            pl_secret_make((enum pl_secret_way)way, PL_BYTES("p\xc3\xa4ss word"), text) == PL_OK);
        struct pl_secret secret = parsed(text, &memory);
        CHECK_EQ(secret.kind, kinds[way]);
        CHECK_EQ(secret.scram_count, way == PL_SECRET_WAY_SCRAM_ARGON2ID ? 2
                                     : way == PL_SECRET_WAY_SCRAM        ? 1
                                                                         : 0);
        if (way == PL_SECRET_WAY_CRA_PLAIN)
            CHECK(pl_bytes_equal(secret.key, PL_BYTES("p\xc3\xa4ss word")));
        REQUIRE(
            pl_secret_make((enum pl_secret_way)way, PL_BYTES("p\xc3\xa4ss word"), again) == PL_OK);
        /* Salted. */
        CHECK((strcmp(text, again) == 0) == (way == PL_SECRET_WAY_CRA_PLAIN));
        pl_arena_done(&memory);
    }
}

#define STORED "0fCr7EYY8YwoS0VQMtES7YBGB7DlELfCsFIeOvlTzkc="
#define SERVER "aCtxeIoGuHVmsyd50QLzSXZWPgYI9rjZqGZ7ldyNmc4="

TEST(what_is_no_secret_is_refused)
{
    static const char *const bad[] = {
        "",
        "$",
        "$x$y",
        "wampcra$c2VjcmV0",
        "$wampcra$",
        "$wampcra$$$",
        "$wampcra$*",
        "$wampcra$i=0,l=32$salt$64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc=",
        "$wampcra$i=1000,l=31$salt$64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc=",
        "$wampcra$i=1000,l=32$$64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc=",
        "$wampcra$i=1000,l=32,x$salt$64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc=",
        "$wampcra$i=1000,l=32$salt$64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc=$",
        "$scram$md5$i=4096$aBc+fx0NAVA=$" STORED "$" SERVER,
        "$scram$pbkdf2$i=4096$aBc+fx0NAVA=$" STORED,
        "$scram$pbkdf2$i=4096$aBc+fx0NAVA=$" STORED "$",
        "$scram$argon2id$m=8,t=1$aBc+fx0NAVA=$" STORED "$" SERVER,
        "$cryptosign$03a107",
        "$cryptosign$" PUBLIC_KEY "00",
        "$tls$x",
        "$tls$" PUBLIC_KEY "$",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pl_arena memory = {0};
        struct pl_secret secret;
        bool is_refused = pl_secret_parse(pl_bytes_text(bad[i]), &memory, &secret) == PL_MALFORMED;
        CHECK(is_refused);
        if (!is_refused)
            printf("    %s\n", bad[i]);
        pl_arena_done(&memory);
    }
}
