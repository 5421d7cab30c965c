#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>
#include <termios.h>
#include <unistd.h>

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
    "Changes the file of users with passwords; auth.users in the configuration names it. A "
    "running\n"
    "server reads it again on SIGHUP; who was removed, or has another password, is logged out "
    "then.\n"
    "\n"
    "    parley user add lamp1 --role device --file users\n"
    "\n"
    "  -f, --file FILE            the users file; made if there is none (mode 0600)\n"
    "  -r, --role ROLE            a role of the configuration; `all` may do everything\n"
    "  -a, --attribute KEY=VALUE  for {KEY} in the role's patterns; `realm` selects the realm; "
    "may\n"
    "                             be repeated\n"
    "      --password-stdin       the password is the first line of the standard input; without "
    "it\n"
    "                             it is asked for\n"
    "  -h, --help                 this text\n"
    "\n"
    "Exit code: 0 done, 1 failed, 2 wrong usage.\n";

struct request {
    const char *verb, *name, *file, *role;
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

/* 0, or the exit code. */
static int hash_password(const struct request *request, char *out_hash)
{
    char password[PL_PASSWORD_MAX + 2];
    ssize_t len = get_password(request, password);
    if (len < 0)
        return PL_EXIT_FAILED;
    enum pl_err err = pl_password_hash(pl_bytes_of(password, (size_t)len), out_hash);
    sodium_memzero(password, sizeof password);
    return err ? pl_cli_fail("user", "%s", pl_err_text(err)) : 0;
}

static int report(enum pl_err err, const struct pl_diag *diag)
{
    return err ? pl_cli_fail("user", "%s", diag->text) : PL_EXIT_OK;
}

static int add(const struct request *request)
{
    if (!request->role)
        return pl_cli_usage("user", "--role ROLE is missing");
    char hash[PL_PASSWORD_HASH_MAX];
    int code = hash_password(request, hash);
    struct pl_user_edit edit = {
        .name = pl_bytes_text(request->name),
        .role = pl_bytes_text(request->role),
        .hash = hash,
        .attributes = request->attributes,
        .attribute_count = request->attribute_count,
    };
    struct pl_diag diag = {0};
    return code ? code : report(pl_users_file_add(request->file, &edit, &diag), &diag);
}

static int change_password(const struct request *request)
{
    char hash[PL_PASSWORD_HASH_MAX];
    int code = hash_password(request, hash);
    struct pl_user_edit edit = {
        .name = pl_bytes_text(request->name), .role = pl_bytes_text(request->role), .hash = hash};
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
        {"password-stdin", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct request request = {0};
    int option, code = 0;
    while (!code && (option = getopt_long(argc, argv, "f:r:a:h", options, NULL)) != -1) {
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
