#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "cli/commands.h"
#include "server/nexus.h"
#include "server/server.h"

static const char help[] =
    "Usage: parley serve [OPTION]… [FILE]\n"
    "\n"
    "Serves until it gets SIGTERM or SIGINT. FILE is a configuration in YAML; without one the\n"
    "defaults serve on this machine alone: 1883 MQTT, 4222 NATS, 8080 everything that its first\n"
    "bytes tell (HTTP, WebSocket, TLS, WAMP, MQTT, Redis, Mles), 8443 the same with TLS, 8081\n"
    "metrics.\n"
    "\n"
    "  -c, --config FILE        the same as FILE\n"
    "  -s, --set KEY=VALUE      this instead of what the file says; may be repeated\n"
    "                           --set log.level=debug --set listeners.mqtt.port=1884\n"
    "  -d, --data DIR           where state is kept: --set data=DIR\n"
    "      --ports-file FILE    write what listens where as JSON when all is ready\n"
    "      --nexus-config FILE  a configuration of nexusd, in JSON\n"
    "      --realm, --ws, --tcp, --unix VALUE\n"
    "                           as nexusd's flags, with or without its file\n"
    "  -h, --help               this text\n"
    "\n"
    "Every key can also be a variable: PARLEY_LOG_LEVEL=debug. `parley check --defaults` prints\n"
    "all keys, `parley check FILE` looks a file over.\n"
    "\n"
    "SIGHUP reads users, keys, certificates, roles and the log level again.\n"
    "\n"
    "Exit code: 0 ended in order, 1 could not go on, 2 configuration or port: nothing was "
    "served.\n";

enum { SETS_MAX = 256 };

static int usage(const char *what)
{
    fprintf(stderr, "parley serve: %s; parley serve --help tells more\n", what);
    return PL_EXIT_USAGE;
}

int pl_cmd_serve(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 's'},
        {"data", required_argument, NULL, 'd'},
        {"ports-file", required_argument, NULL, 'p'},
        {"nexus-config", required_argument, NULL, 'n'},
        {"realm", required_argument, NULL, 'r'},
        {"ws", required_argument, NULL, 'w'},
        {"tcp", required_argument, NULL, 't'},
        {"unix", required_argument, NULL, 'u'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *sets[SETS_MAX];
    char data[4200];
    struct pl_server_options server = {.sets = sets};
    struct pl_nexus_flags nexus = {0};
    int option;
    while ((option = getopt_long(argc, argv, "c:s:d:h", options, NULL)) != -1) {
        if ((option == 's' || option == 'd') && server.set_count == SETS_MAX)
            return usage("too many --set");
        switch (option) {
        case 'c':
            server.config_file = optarg;
            break;
        case 's':
            sets[server.set_count++] = optarg;
            break;
        case 'd':
            snprintf(data, sizeof data, "data=%s", optarg);
            sets[server.set_count++] = data;
            break;
        case 'p':
            server.ports_file = optarg;
            break;
        case 'n':
            server.config_file = optarg;
            server.nexus = &nexus;
            break;
        case 'r':
        case 'w':
        case 't':
        case 'u':
            *(option == 'r'     ? &nexus.realm
                : option == 'w' ? &nexus.ws
                : option == 't' ? &nexus.tcp
                                : &nexus.unix) = optarg;
            server.nexus = &nexus;
            break;
        case 'h':
            fputs(help, stdout);
            return PL_EXIT_OK;
        default:
            return usage("wrong option");
        }
    }
    if (argc - optind > 1 || (argc - optind == 1 && server.config_file))
        return usage("one configuration file at most");
    if (argc - optind == 1)
        server.config_file = argv[optind];
    if (server.nexus && !server.config_file && !nexus.ws && !nexus.tcp && !nexus.unix)
        return usage("--realm wants --ws, --tcp or --unix");
    return pl_server_run(&server);
}
