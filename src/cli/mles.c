#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/text.h"
#include "server/mles_flags.h"
#include "server/server.h"

static const char help[] =
    "Usage: parley mles --domains NAME… --wwwroot DIR [OPTION]…\n"
    "\n"
    "A chat server with web pages, with the options of the Mles server of jq-rs: one port with "
    "TLS\n"
    "for the WebSockets of Mles clients and for the files of each domain, DIR/NAME/…. "
    "Certificates\n"
    "come from Let's Encrypt and are renewed. It listens on all addresses, and for everyone.\n"
    "\n"
    "  -d, --domains NAME       a domain of the certificate and the pages; may be repeated\n"
    "  -w, --wwwroot DIR        the folder with a folder of files for each domain\n"
    "  -e, --email ADDRESS      whom Let's Encrypt may write to; may be repeated\n"
    "  -c, --cache DIR          where certificates are kept (acme in the data folder)\n"
    "  -l, --limit N            frames of history per channel (200)\n"
    "  -f, --filelimit N        files open at a time (256)\n"
    "  -s, --staging            Let's Encrypt's staging directory, for trials\n"
    "  -p, --port N             the port (443)\n"
    "  -r, --redirect           port 80 redirects to HTTPS\n"
    "  -C, --compression-cache MB\n"
    "                           memory for compressed files, 0: none (24)\n"
    "  -P, --proxy PREFIX=URL   what is asked for below /PREFIX/ is asked of http://…; repeatable\n"
    "      --rate-limit N       connections per minute of an address\n"
    "\n"
    "Ours:\n"
    "      --cert FILE --key FILE\n"
    "                           a certificate of your own; none is ordered\n"
    "      --directory URL --ca FILE\n"
    "                           another authority (ACME), and who vouches for its server\n"
    "      --redirect-port N    instead of 80; implies --redirect\n"
    "      --peer URL           wss://host:port of another Mles server that shares the channels;\n"
    "                           may be repeated\n"
    "      --data DIR           where state is kept\n"
    "      --set KEY=VALUE      any key of `parley check --defaults`; may be repeated\n"
    "      --ports-file FILE    write what listens where as JSON when all is ready\n"
    "  -h, --help               this text\n"
    "\n"
    "The variable MLES_KEY is the key that clients must know; without it everyone may join.\n"
    "\n"
    "Exit code: 0 ended in order, 1 could not go on, 2 options or port: nothing was served.\n";

static const char command[] = "mles";

enum {
    SETS_MAX = 256,
    CERT = 256,
    KEY,
    DIRECTORY,
    CA,
    REDIRECT_PORT,
    PEER,
    DATA,
    SET,
    PORTS_FILE,
    RATE_LIMIT
};

static const struct option long_options[] = {
    {"domains", required_argument, NULL, 'd'},
    {"wwwroot", required_argument, NULL, 'w'},
    {"email", required_argument, NULL, 'e'},
    {"cache", required_argument, NULL, 'c'},
    {"limit", required_argument, NULL, 'l'},
    {"filelimit", required_argument, NULL, 'f'},
    {"staging", no_argument, NULL, 's'},
    {"port", required_argument, NULL, 'p'},
    {"redirect", no_argument, NULL, 'r'},
    {"compression-cache", required_argument, NULL, 'C'},
    {"proxy", required_argument, NULL, 'P'},
    {"rate-limit", required_argument, NULL, RATE_LIMIT},
    {"cert", required_argument, NULL, CERT},
    {"key", required_argument, NULL, KEY},
    {"directory", required_argument, NULL, DIRECTORY},
    {"ca", required_argument, NULL, CA},
    {"redirect-port", required_argument, NULL, REDIRECT_PORT},
    {"peer", required_argument, NULL, PEER},
    {"data", required_argument, NULL, DATA},
    {"set", required_argument, NULL, SET},
    {"ports-file", required_argument, NULL, PORTS_FILE},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
    struct pl_mles_flags flags;
    const char *sets[SETS_MAX];
    uint32_t set_count;
    const char *ports_file;
    char data[4200];
};

/* What one option may be, and where it goes. */
struct number {
    int option;
    const char *name;
    uint64_t min, max;
    uint64_t *to;
};

struct list {
    int option;
    const char *name;
    struct pl_flag_list *to;
};

struct text {
    int option;
    const char **to;
};

static int read_number(int option, const char *value, struct pl_mles_flags *f)
{
    const struct number numbers[] = {
        {'l', "limit", 1, 999999, &f->limit},
        {'f', "filelimit", 1, 999999, &f->filelimit},
        {'p', "port", 1, 65535, &f->port},
        {'C', "compression-cache", 0, 1024, &f->compression_cache_mb},
        {RATE_LIMIT, "rate-limit", 1, 1000000, &f->rate_limit},
        {REDIRECT_PORT, "redirect-port", 1, 65535, &f->redirect_port},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const struct number *n = &numbers[i];
        if (n->option == option && !pl_cli_number(value, n->min, n->max, n->to))
            return pl_cli_usage(command, "--%s: expected a number from %llu to %llu, found %s",
                n->name, (unsigned long long)n->min, (unsigned long long)n->max, value);
    }
    f->redirect |= option == REDIRECT_PORT;
    return PL_EXIT_OK;
}

static int read_list(int option, const char *value, struct pl_mles_flags *f)
{
    const struct list lists[] = {
        {'d', "domains", &f->domains},
        {'e', "email", &f->email},
        {'P', "proxy", &f->proxies},
        {PEER, "peer", &f->peers},
    };
    if (option == 'P' && !strchr(value, '=')) {
        /* So does the original, and says nothing. */
        fprintf(stderr, "parley mles: --proxy %s: left out, expected PREFIX=URL\n", value);
        return PL_EXIT_OK;
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (lists[i].option != option)
            continue;
        if (lists[i].to->count == PL_MLES_FLAGS_MAX)
            return pl_cli_usage(command, "too many --%s", lists[i].name);
        lists[i].to->items[lists[i].to->count++] = value;
    }
    return PL_EXIT_OK;
}

static void read_text(int option, const char *value, struct arguments *a)
{
    struct pl_mles_flags *f = &a->flags;
    const struct text texts[] = {
        {'w', &f->wwwroot},
        {'c', &f->cache},
        {CERT, &f->certificate},
        {KEY, &f->key},
        {DIRECTORY, &f->directory},
        {CA, &f->ca},
        {PORTS_FILE, &a->ports_file},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].option == option)
            *texts[i].to = value;
    }
    f->staging |= option == 's';
    f->redirect |= option == 'r';
}

static int read_set(int option, const char *value, struct arguments *a)
{
    if (option != SET && option != DATA)
        return PL_EXIT_OK;
    if (a->set_count == SETS_MAX)
        return pl_cli_usage(command, "too many --set");
    if (option == DATA) {
        snprintf(a->data, sizeof a->data, "data=%s", value);
        value = a->data;
    }
    a->sets[a->set_count++] = value;
    return PL_EXIT_OK;
}

/* What one option alone cannot tell. */
static int check(const struct arguments *a)
{
    const struct pl_mles_flags *f = &a->flags;
    if (!f->domains.count)
        return pl_cli_usage(command, "--domains is missing: which names does the server have?");
    if (!f->wwwroot)
        return pl_cli_usage(command, "--wwwroot is missing: where are the files of the domains?");
    if (!f->certificate != !f->key)
        return pl_cli_usage(command, "--cert and --key go together");
    if (f->staging && f->directory)
        return pl_cli_usage(command, "either --staging or --directory");
    return PL_EXIT_OK;
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static int serve(struct arguments *a)
{
    struct pl_shared *text;
    if (pl_mles_flags_translate(&a->flags, &text))
        return pl_cli_fail(command, "no memory");
    int code = pl_server_run(&(struct pl_server_options){
        .command = "parley mles",
        .config_text = (const char *)text->data,
        .sets = a->sets,
        .set_count = a->set_count,
        .ports_file = a->ports_file,
    });
    pl_shared_unref(text);
    return code;
}

int pl_cmd_mles(int argc, char **argv)
{
    static struct arguments a = {.flags = {.limit = 200,
                                     .filelimit = 256,
                                     .port = 443,
                                     .redirect_port = 80,
                                     .compression_cache_mb = 24}};
    int option, code = PL_EXIT_OK;
    while (!code &&
           (option = getopt_long(argc, argv, "d:w:e:c:l:f:sp:rC:P:h", long_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return PL_EXIT_OK;
        }
        if (option == '?')
            return pl_cli_usage(command, "wrong option");
        const char *value = optarg ? optarg : "";
        code = read_number(option, value, &a.flags);
        if (!code)
            code = read_list(option, value, &a.flags);
        if (!code)
            code = read_set(option, value, &a);
        read_text(option, value, &a);
    }
    if (!code && optind < argc)
        code = pl_cli_usage(command, "what is %s?", argv[optind]);
    if (!code)
        code = check(&a);
    a.flags.has_ipv6 = has_ipv6();
    return code ? code : serve(&a);
}
