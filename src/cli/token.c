#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>
#include <time.h>

#include "auth/jwt.h"
#include "base/alloc.h"
#include "base/arena.h"
#include "cli/commands.h"
#include "cli/text.h"

static const char help[] =
    "Usage: parley token --key FILE [OPTION]…        make a token\n"
    "       parley token --inspect TOKEN [--key FILE]  look into one\n"
    "\n"
    "A token is a signed text (JWT) that says who its bearer is. Clients show it as the password\n"
    "(MQTT, Redis, NATS), as token or jwt (NATS), or as `Authorization: Bearer …` (WebSocket).\n"
    "The server must know the key: auth.jwt.keys in its configuration.\n"
    "\n"
    "    head -c 48 /dev/urandom | base64 > secret\n"
    "    parley token --key secret --user lamp1 --role device --expires 30d\n"
    "\n"
    "    openssl genpkey -algorithm ed25519 -out key.pem\n"
    "    openssl pkey -in key.pem -pubout -out public.pem     # this one is for the server\n"
    "    parley token --key key.pem --user lamp1 --role device\n"
    "\n"
    "  -k, --key FILE           secret, or private key (PEM or JWK) to sign with; with --inspect,\n"
    "      --secret-file FILE   secret or public key to check with. Both names mean the same\n"
    "  -u, --user NAME          claim sub: who it is\n"
    "  -r, --role NAME          claim role\n"
    "  -e, --expires TIME       claim exp: 90s, 15m, 1h (the default), 30d, or never\n"
    "      --realm NAME         claim realm\n"
    "      --issuer TEXT        claim iss\n"
    "      --audience TEXT      claim aud; may be repeated\n"
    "      --id TEXT            claim jti, by which it can be revoked; a random one if not given\n"
    "  -c, --claim NAME=VALUE   any other claim; a VALUE that is JSON is that, else it is a text\n"
    "  -a, --alg NAME           HS256 (a secret's default), HS384, HS512, RS256, ES256, EdDSA\n"
    "      --kid TEXT           the key's id, for the token's header\n"
    "  -i, --inspect TOKEN      print header and claims; - reads the token from the standard "
    "input\n"
    "  -h, --help               this text\n"
    "\n"
    "Exit code: 0 done, and good if it was checked; 1 not; 2 wrong usage.\n";

enum { AUDIENCES_MAX = 16, ID_BYTES = 12, TOKEN_INPUT_MAX = 64 << 10 };

struct request {
    struct pl_jwt_key_config key;
    const char *inspect;
    json_t *claims; /* owned */
    const char *audiences[AUDIENCES_MAX];
    size_t audience_count;
    bool has_id;
    bool never_expires;
    uint64_t expires_ms;
};

/* False: there is no memory. */
static bool set_text(json_t *claims, const char *name, const char *text)
{
    return json_object_set_new(claims, name, json_string(text)) == 0;
}

/* NAME=VALUE. 0, or the exit code. */
static int set_claim(json_t *claims, const char *option)
{
    const char *equals = strchr(option, '=');
    if (!equals || equals == option)
        return pl_cli_usage("token", "--claim %s: expected NAME=VALUE", option);
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (!value)
        value = json_string(equals + 1);
    if (!value)
        return pl_cli_usage("token", "--claim %s: the value is not UTF-8", option);
    char *name = pl_alloc_copy(option, (size_t)(equals - option));
    int failed = !name || json_object_set_new(claims, name, value);
    pl_free(name);
    return failed ? pl_cli_usage("token", "--claim %s: the name is not UTF-8", option) : 0;
}

static bool set_audiences(const struct request *request)
{
    if (request->audience_count == 0)
        return true;
    if (request->audience_count == 1)
        return set_text(request->claims, "aud", request->audiences[0]);
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < request->audience_count && ok; i++)
        ok = json_array_append_new(list, json_string(request->audiences[i])) == 0;
    if (ok)
        return json_object_set_new(request->claims, "aud", list) == 0;
    json_decref(list);
    return false;
}

/* What every token says of itself. */
static bool set_rest(const struct request *request)
{
    time_t now = time(NULL);
    char id[ID_BYTES * 2 + 1];
    uint8_t random[ID_BYTES];
    if (sodium_init() < 0)
        return false;
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(id, sizeof id, random, sizeof random);
    bool ok = json_object_set_new(request->claims, "iat", json_integer((json_int_t)now)) == 0;
    if (ok && !request->never_expires)
        ok = json_object_set_new(request->claims, "exp",
                 json_integer((json_int_t)now + (json_int_t)(request->expires_ms / 1000))) == 0;
    if (ok && !request->has_id)
        ok = set_text(request->claims, "jti", id);
    return ok && set_audiences(request);
}

static int make(const struct request *request)
{
    char *claims = set_rest(request) ? json_dumps(request->claims, JSON_COMPACT) : NULL;
    if (!claims)
        return pl_cli_fail("token", "a claim is not UTF-8, or there is no memory");
    struct pl_diag diag = {0};
    char *token = NULL;
    enum pl_err err = pl_jwt_sign(&request->key, claims, &diag, &token);
    free(claims); /* jansson's own */
    if (err)
        return pl_cli_fail("token", "%s", diag.text);
    bool printed = puts(token) >= 0 && fflush(stdout) == 0;
    pl_free(token);
    return printed ? PL_EXIT_OK : PL_EXIT_FAILED;
}

static void print_time(const json_t *claims, const char *name, const char *meaning)
{
    const json_t *value = json_object_get(claims, name);
    if (!json_is_number(value) || json_number_value(value) < -1e11 ||
        json_number_value(value) > 1e11)
        return;
    time_t at = (time_t)json_number_value(value);
    struct tm utc;
    char text[32];
    if (gmtime_r(&at, &utc) && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc))
        printf("%-10s %s UTC\n", meaning, text);
}

/* Whom a token is for is not the question here: its own audiences are taken for ours. */
static size_t own_audiences(const json_t *claims, const char **out)
{
    const json_t *aud = json_object_get(claims, "aud");
    size_t count = 0;
    if (json_is_string(aud))
        out[count++] = json_string_value(aud);
    for (size_t i = 0; i < json_array_size(aud) && count < AUDIENCES_MAX; i++) {
        if (json_is_string(json_array_get(aud, i)))
            out[count++] = json_string_value(json_array_get(aud, i));
    }
    return count;
}

/* Prints whether the key's holder signed it and its time has come. */
static int verify(const struct request *request, struct pl_bytes token, const json_t *claims)
{
    const char *audiences[AUDIENCES_MAX];
    struct pl_jwt_config config = {
        .keys = &request->key,
        .key_count = 1,
        .audiences = {audiences, own_audiences(claims, audiences)},
    };
    struct pl_diag diag = {0};
    struct pl_jwt_keys *keys = NULL;
    enum pl_err err = pl_jwt_keys_load(&config, &diag, &keys);
    if (err)
        return pl_cli_fail("token", "%s", diag.text);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct pl_identity *identity = pl_identity_new();
    err = PL_NO_MEMORY;
    const struct pl_jwt_ring ring = {.sets = {keys}, .count = 1};
    if (identity)
        err = pl_jwt_verify(&ring, &config, token,
            (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, identity, &diag);
    pl_identity_unref(identity);
    pl_jwt_keys_unref(keys);
    if (err)
        printf("checked    not good: %s\n", diag.text[0] ? diag.text : pl_err_text(err));
    else
        printf("checked    good: signed with this key, and in its time\n");
    return err ? PL_EXIT_FAILED : PL_EXIT_OK;
}

static struct pl_bytes trim(struct pl_bytes text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]))
        text.len--;
    return text;
}

static int inspect(const struct request *request)
{
    uint8_t *input = NULL;
    struct pl_bytes token = pl_bytes_text(request->inspect);
    if (strcmp(request->inspect, "-") == 0) {
        size_t len;
        input = pl_cli_read_all(stdin, TOKEN_INPUT_MAX, &len);
        if (!input)
            return pl_cli_fail("token", "the standard input is too long for a token");
        token = pl_bytes_of(input, len);
    }
    token = trim(token);
    struct pl_diag diag = {0};
    char *header, *claims;
    int code = PL_EXIT_OK;
    if (pl_jwt_decode(token, &diag, &header, &claims)) {
        code = pl_cli_fail("token", "%s", diag.text);
    } else {
        json_t *parsed = json_loads(claims, 0, NULL);
        printf("header     %s\nclaims     %s\n", header, claims);
        print_time(parsed, "iat", "issued");
        print_time(parsed, "nbf", "not before");
        print_time(parsed, "exp", "expires");
        if (request->key.file)
            code = verify(request, token, parsed);
        else
            printf("checked    no: --key FILE checks the signature\n");
        json_decref(parsed);
        pl_free(header);
        pl_free(claims);
    }
    pl_free(input);
    return code;
}

enum { OPTION_REALM = 256, OPTION_ISSUER, OPTION_AUDIENCE, OPTION_ID, OPTION_KID };

static const struct option options[] = {
    {"key", required_argument, NULL, 'k'},
    {"secret-file", required_argument, NULL, 'k'},
    {"user", required_argument, NULL, 'u'},
    {"role", required_argument, NULL, 'r'},
    {"expires", required_argument, NULL, 'e'},
    {"realm", required_argument, NULL, OPTION_REALM},
    {"issuer", required_argument, NULL, OPTION_ISSUER},
    {"audience", required_argument, NULL, OPTION_AUDIENCE},
    {"id", required_argument, NULL, OPTION_ID},
    {"claim", required_argument, NULL, 'c'},
    {"alg", required_argument, NULL, 'a'},
    {"kid", required_argument, NULL, OPTION_KID},
    {"inspect", required_argument, NULL, 'i'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* The options that are a claim each. NULL: none. */
static const char *claim_of(int option)
{
    switch (option) {
    case 'u':
        return "sub";
    case 'r':
        return "role";
    case OPTION_REALM:
        return "realm";
    case OPTION_ISSUER:
        return "iss";
    case OPTION_ID:
        return "jti";
    default:
        return NULL;
    }
}

/* 0, or the exit code. */
static int read_option(struct request *request, int option)
{
    const char *claim = claim_of(option);
    if (claim) {
        request->has_id |= option == OPTION_ID;
        return set_text(request->claims, claim, optarg)
                   ? 0
                   : pl_cli_usage("token", "%s: not UTF-8", optarg);
    }
    switch (option) {
    case 'k':
        request->key.file = optarg;
        return 0;
    case 'a':
        request->key.algorithm = optarg;
        return 0;
    case OPTION_KID:
        request->key.kid = optarg;
        return 0;
    case 'i':
        request->inspect = optarg;
        return 0;
    case 'c':
        return set_claim(request->claims, optarg);
    case 'e':
        request->never_expires = strcmp(optarg, "never") == 0;
        if (request->never_expires || pl_cli_duration(optarg, &request->expires_ms))
            return 0;
        return pl_cli_usage("token", "--expires %s: expected a time such as 1h", optarg);
    case OPTION_AUDIENCE:
        if (request->audience_count == AUDIENCES_MAX)
            return pl_cli_usage("token", "more than %d audiences", AUDIENCES_MAX);
        request->audiences[request->audience_count++] = optarg;
        return 0;
    default:
        return pl_cli_usage("token", "wrong option");
    }
}

int pl_cmd_token(int argc, char **argv)
{
    struct request request = {.expires_ms = 3600000, .claims = json_object()};
    int code = request.claims ? 0 : pl_cli_fail("token", "out of memory");
    bool wants_help = false;
    for (int option; !code && !wants_help &&
                     (option = getopt_long(argc, argv, "k:u:r:e:c:a:i:h", options, NULL)) != -1;) {
        wants_help = option == 'h';
        if (!wants_help)
            code = read_option(&request, option);
    }
    if (wants_help)
        fputs(help, stdout);
    else if (!code && optind < argc)
        code = pl_cli_usage("token", "%s: there are only options", argv[optind]);
    else if (!code && request.inspect)
        code = inspect(&request);
    else if (!code && !request.key.file)
        code = pl_cli_usage("token", "--key FILE is missing");
    else if (!code)
        code = make(&request);
    json_decref(request.claims);
    return code;
}
