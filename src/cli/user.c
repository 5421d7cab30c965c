#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>
#include <termios.h>
#include <unistd.h>

#include "auth/proof.h"
#include "auth/users.h"
#include "base/alloc.h"
#include "cli/commands.h"
#include "cli/text.h"

static const char help[] =
    "Usage: parley user add NAME --role ROLE --file FILE [OPTION]…\n"
    "       parley user passwd NAME --file FILE [OPTION]…\n"
    "       parley user remove NAME --file FILE\n"
    "       parley user list --file FILE\n"
    "\n"
    "Changes the file of users and their secrets; auth.users in the configuration names it. A\n"
    "running server reads it again on SIGHUP; who was removed, or has another secret, is logged "
    "out\n"
    "then.\n"
    "\n"
    "    parley user add lamp1 --role device --file users\n"
    "    parley user add ann --role admin --file users --method password,wampcra,scram\n"
    "    parley user add robot --role device --file users --key 03a107bf…\n"
    "\n"
    "  -f, --file FILE            the users file; made if there is none (mode 0600)\n"
    "  -r, --role ROLE            a role of the configuration; `all` may do everything\n"
    "  -a, --attribute KEY=VALUE  for {KEY} in the role's patterns; `realm` selects the realm; "
    "may\n"
    "                             be repeated\n"
    "  -m, --method LIST          what is kept of the password, one or more of:\n"
    "                               password        for everything that shows one, WAMP's ticket "
    "too\n"
    "                               wampcra         WAMP-CRA, salted\n"
    "                               wampcra-plain   WAMP-CRA: the password itself is kept, "
    "readable\n"
    "                               scram           WAMP-SCRAM, by PBKDF2\n"
    "                               scram-argon2id  WAMP-SCRAM, by argon2id\n"
    "                             Without it: password\n"
    "      --key HEX              public key for WAMP-cryptosign; no password is asked for then,\n"
    "                             unless --method is given\n"
    "      --certificate HEX      the SHA-256 of a client certificate; or the word `name`: every\n"
    "                             certificate of the listener's authority with this common name\n"
    "      --password-stdin       the password is the first line of the standard input; without "
    "it\n"
    "                             it is asked for\n"
    "  -h, --help                 this text\n"
    "\n"
    "Exit code: 0 done, 1 failed, 2 wrong usage.\n";

enum { SECRETS_TEXT_MAX = PL_SECRETS_MAX * PL_SECRET_TEXT_MAX };

struct request {
    const char *verb, *name, *file, *role, *methods, *key, *certificate;
    bool from_stdin;
    struct pl_attribute attributes[PL_USER_ATTRIBUTES_MAX];
    uint32_t attribute_count;
};

/* A line without its end. -1: none, or too long. */
static ssize_t read_line(char *out, size_t cap)
{
    if (!fgets(out, (int)cap, stdin))
        return -1;
    size_t len = strlen(out);
    if (len > 0 && out[len - 1] == '\n')
        out[--len] = 0;
    else if (len + 1 == cap)
        return -1;
    return (ssize_t)len;
}

/* Asks on the terminal, without showing what is typed. */
static ssize_t ask(const char *question, char *out, size_t cap)
{
    struct termios shown;
    if (tcgetattr(STDIN_FILENO, &shown) < 0)
        return -1;
    struct termios hidden = shown;
    hidden.c_lflag &= (tcflag_t)~ECHO;
    fputs(question, stderr);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) < 0)
        return -1;
    ssize_t len = read_line(out, cap);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    return len;
}

/* Its length, or -1 when the reason has been told. out has PL_PASSWORD_MAX + 2 bytes. */
static ssize_t get_password(const struct request *request, char *out)
{
    char again[PL_PASSWORD_MAX + 2];
    ssize_t len;
    if (request->from_stdin) {
        len = read_line(out, PL_PASSWORD_MAX + 2);
    } else if (isatty(STDIN_FILENO)) {
        len = ask("Password: ", out, PL_PASSWORD_MAX + 2);
        bool same = len < 0 || (ask("Again: ", again, sizeof again) == len &&
                                   sodium_memcmp(out, again, (size_t)len) == 0);
        sodium_memzero(again, sizeof again);
        if (!same) {
            pl_cli_fail("user", "that was not the same twice");
            return -1;
        }
    } else {
        pl_cli_usage("user", "there is no terminal to ask on; --password-stdin");
        return -1;
    }
    if (len <= 0) {
        pl_cli_fail("user", "a password has 1 to %d bytes", PL_PASSWORD_MAX);
        return -1;
    }
    return len;
}

static enum pl_err make_secret(
    struct pl_bytes method, struct pl_bytes password, char out[PL_SECRET_TEXT_MAX])
{
    static const struct {
        const char *name;
        enum pl_secret_way way;
    } ways[] = {
        {"wampcra", PL_SECRET_WAY_CRA},
        {"wampcra-plain", PL_SECRET_WAY_CRA_PLAIN},
        {"scram", PL_SECRET_WAY_SCRAM},
        {"scram-argon2id", PL_SECRET_WAY_SCRAM_ARGON2ID},
    };
    if (pl_bytes_equal(method, PL_BYTES("password")))
        return pl_password_hash(password, out);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (pl_bytes_equal(pl_bytes_text(ways[i].name), method))
            return pl_secret_make(ways[i].way, password, out);
    return PL_UNSUPPORTED;
}

static void append(char *secrets, const char *secret)
{
    size_t len = strlen(secrets);
    snprintf(secrets + len, SECRETS_TEXT_MAX - len, "%s%s", len ? " " : "", secret);
}

/* 0, or the exit code. */
static int make_of_password(const char *methods, struct pl_bytes password, char *secrets)
{
    while (*methods) {
        size_t len = strcspn(methods, ",");
        char secret[PL_SECRET_TEXT_MAX];
        enum pl_err err = make_secret(pl_bytes_of(methods, len), password, secret);
        if (err == PL_UNSUPPORTED)
            return pl_cli_usage(
                "user", "--method %.*s: there is none of that name", (int)len, methods);
        if (err)
            return pl_cli_fail("user", "%s", pl_err_text(err));
        append(secrets, secret);
        sodium_memzero(secret, sizeof secret);
        methods += len + (methods[len] == ',');
    }
    return 0;
}

/* 0, or the exit code. secrets: SECRETS_TEXT_MAX bytes. */
static int make_secrets(const struct request *request, char *secrets)
{
    char text[PL_SECRET_TEXT_MAX];
    uint8_t bytes[PL_KEY_LEN];
    const char *methods = request->methods;
    int code = 0;
    secrets[0] = 0;
    if (!methods && !request->key && !request->certificate)
        methods = "password";
    if (methods) {
        char password[PL_PASSWORD_MAX + 2];
        ssize_t len = get_password(request, password);
        if (len < 0)
            return PL_EXIT_FAILED;
        code = make_of_password(methods, pl_bytes_of(password, (size_t)len), secrets);
        sodium_memzero(password, sizeof password);
    }
    if (!code && request->key) {
        if (!pl_hex_decode_key(pl_bytes_text(request->key), bytes))
            return pl_cli_usage("user", "--key: expected 64 hex digits");
        snprintf(text, sizeof text, "$cryptosign$%s", request->key);
        append(secrets, text);
    }
    if (!code && request->certificate) {
        if (strcmp(request->certificate, "name") != 0 &&
            !pl_hex_decode_key(pl_bytes_text(request->certificate), bytes))
            return pl_cli_usage("user", "--certificate: expected 64 hex digits, or `name`");
        snprintf(text, sizeof text, "$tls$%s", request->certificate);
        append(secrets, text);
    }
    return code;
}

static int report(enum pl_err err, const struct pl_diag *diag)
{
    return err ? pl_cli_fail("user", "%s", diag->text) : PL_EXIT_OK;
}

static int add(const struct request *request)
{
    if (!request->role)
        return pl_cli_usage("user", "--role ROLE is missing");
    char secrets[SECRETS_TEXT_MAX];
    int code = make_secrets(request, secrets);
    struct pl_user_edit edit = {
        .name = pl_bytes_text(request->name),
        .role = pl_bytes_text(request->role),
        .secrets = secrets,
        .attributes = request->attributes,
        .attribute_count = request->attribute_count,
    };
    struct pl_diag diag = {0};
    return code ? code : report(pl_users_file_add(request->file, &edit, &diag), &diag);
}

static int change_password(const struct request *request)
{
    char secrets[SECRETS_TEXT_MAX];
    int code = make_secrets(request, secrets);
    struct pl_user_edit edit = {.name = pl_bytes_text(request->name),
        .role = pl_bytes_text(request->role),
        .secrets = secrets};
    struct pl_diag diag = {0};
    return code ? code : report(pl_users_file_change(request->file, &edit, &diag), &diag);
}

static int remove_user(const struct request *request)
{
    struct pl_diag diag = {0};
    return report(pl_users_file_remove(request->file, pl_bytes_text(request->name), &diag), &diag);
}

static int list(const struct request *request)
{
    struct pl_diag diag = {0};
    struct pl_users *users;
    enum pl_err err = pl_users_load(request->file, &diag, &users);
    if (err)
        return report(err, &diag);
    for (size_t i = 0; i < pl_users_count(users); i++) {
        const struct pl_user *user = pl_users_at(users, i);
        printf("%.*s\t%.*s", (int)user->name.len, user->name.data, (int)user->role.len,
            user->role.data);
        for (uint32_t j = 0; j < user->attribute_count; j++) {
            const struct pl_attribute *a = &user->attributes[j];
            printf("\t%.*s=%.*s", (int)a->name.len, a->name.data, (int)a->value.len, a->value.data);
        }
        putchar('\n');
    }
    pl_users_free(users);
    return fflush(stdout) == 0 ? PL_EXIT_OK : PL_EXIT_FAILED;
}

static const struct verb {
    const char *name;
    bool has_name;
    int (*run)(const struct request *request);
} verbs[] = {
    {"add", true, add},
    {"passwd", true, change_password},
    {"remove", true, remove_user},
    {"list", false, list},
};

static int run_verb(struct request *request, int argc, char **argv)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        const struct verb *verb = &verbs[i];
        if (argc < 1 || strcmp(argv[0], verb->name) != 0)
            continue;
        if (argc != 1 + verb->has_name)
            return pl_cli_usage(
                "user", "%s takes %s", verb->name, verb->has_name ? "one name" : "no name");
        if (!request->file)
            return pl_cli_usage("user", "--file FILE is missing");
        request->name = verb->has_name ? argv[1] : NULL;
        return verb->run(request);
    }
    return pl_cli_usage("user", "expected add, passwd, remove or list");
}

/* 0, or the exit code. */
static int add_attribute(struct request *request, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return pl_cli_usage("user", "--attribute %s: expected KEY=VALUE", text);
    if (request->attribute_count == PL_USER_ATTRIBUTES_MAX)
        return pl_cli_usage("user", "more than %d attributes", PL_USER_ATTRIBUTES_MAX);
    request->attributes[request->attribute_count++] = (struct pl_attribute){
        pl_bytes_of(text, (size_t)(equals - text)), pl_bytes_text(equals + 1)};
    return 0;
}

int pl_cmd_user(int argc, char **argv)
{
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"role", required_argument, NULL, 'r'},
        {"attribute", required_argument, NULL, 'a'},
        {"method", required_argument, NULL, 'm'},
        {"key", required_argument, NULL, 'k'},
        {"certificate", required_argument, NULL, 'c'},
        {"password-stdin", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct request request = {0};
    int option, code = 0;
    while (!code && (option = getopt_long(argc, argv, "f:r:a:m:h", options, NULL)) != -1) {
        switch (option) {
        case 'f':
            request.file = optarg;
            break;
        case 'r':
            request.role = optarg;
            break;
        case 'a':
            code = add_attribute(&request, optarg);
            break;
        case 'm':
            request.methods = optarg;
            break;
        case 'k':
            request.key = optarg;
            break;
        case 'c':
            request.certificate = optarg;
            break;
        case 'p':
            request.from_stdin = true;
            break;
        case 'h':
            fputs(help, stdout);
            return PL_EXIT_OK;
        default:
            code = pl_cli_usage("user", "wrong option");
        }
    }
    return code ? code : run_verb(&request, argc - optind, argv + optind);
}
