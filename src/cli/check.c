#include <getopt.h>
#include <stdio.h>

#include "cli/commands.h"
#include "server/config.h"
#include "server/metrics.h"
#include "server/nexus.h"
#include "server/server.h"

static const char help[] =
    "Usage: parley check [OPTION]… FILE\n"
    "       parley check --defaults\n"
    "\n"
    "Looks a configuration over as `parley serve FILE` would read it, its users, roles, keys and\n"
    "certificates too, and starts nothing. An error names file, line, key and what was expected.\n"
    "\n"
    "  -s, --set KEY=VALUE      this instead of what the file says; may be repeated\n"
    "      --nexus-config       FILE is nexusd's\n"
    "      --defaults           print a configuration with every default, to begin with\n"
    "      --print-reference    print docs/reference/config.md\n"
    "      --print-metrics      print docs/reference/metrics.md\n"
    "  -h, --help               this text\n"
    "\n"
    "Exit code: 0 fine, 2 not.\n";

enum { SETS_MAX = 256 };

int pl_cmd_check(int argc, char **argv)
{
    static const struct option options[] = {
        {"set", required_argument, NULL, 's'},
        {"nexus-config", no_argument, NULL, 'n'},
        {"defaults", no_argument, NULL, 'd'},
        {"print-reference", no_argument, NULL, 'r'},
        {"print-metrics", no_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *sets[SETS_MAX];
    struct pl_server_options server = {.sets = sets};
    const struct pl_nexus_flags nexus = {0};
    int option;
    while ((option = getopt_long(argc, argv, "s:h", options, NULL)) != -1) {
        switch (option) {
        case 's':
            if (server.set_count == SETS_MAX) {
                fputs("parley check: too many --set\n", stderr);
                return PL_EXIT_USAGE;
            }
            sets[server.set_count++] = optarg;
            break;
        case 'n':
            server.nexus = &nexus;
            break;
        case 'd':
            pl_config_print_defaults(stdout);
            return PL_EXIT_OK;
        case 'r':
            pl_config_print_reference(stdout);
            return PL_EXIT_OK;
        case 'm':
            pl_metrics_print_reference(stdout);
            return PL_EXIT_OK;
        case 'h':
            fputs(help, stdout);
            return PL_EXIT_OK;
        default:
            fputs("parley check: wrong option; parley check --help tells more\n", stderr);
            return PL_EXIT_USAGE;
        }
    }
    if (argc - optind != 1) {
        fputs("parley check: one configuration file is expected; parley check --help tells more\n",
            stderr);
        return PL_EXIT_USAGE;
    }
    server.config_file = argv[optind];
    return pl_server_check(&server);
}
