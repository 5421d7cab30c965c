#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

static const char intro[] =
    "Parley routes messages between MQTT, NATS, WAMP, Redis and Mles clients: one subject space\n"
    "for all.\n"
    "\n"
    "    parley serve                            serves on this machine, nothing to configure\n"
    "    mosquitto_sub -t 'plant/+/temp' -v      a device hears …\n"
    "    redis-cli -p 8080 publish plant.line1.temp 21.5\n"
    "                                            … what another program says\n"
    "\n"
    "An MQTT topic plant/line1/temp, a NATS subject, a WAMP topic and a Redis channel\n"
    "plant.line1.temp are one.\n"
    "\n"
    "Commands:\n";

static const char outro[] =
    "\n"
    "  parley COMMAND --help tells more about each.\n"
    "  parley --version\n"
    "\n"
    "Exit code: 0 done, 1 failed, 2 wrong usage, configuration or port in use.\n";

static void print_help(FILE *out)
{
    fputs(intro, out);
    for (const struct pl_command *c = pl_commands; c->name; c++)
        fprintf(out, "  %-12s%s\n", c->name, c->summary);
    fputs(outro, out);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    for (const struct pl_command *c = pl_commands; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return c->run(argc - 1, argv + 1);
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("parley " PARLEY_VERSION);
        return PL_EXIT_OK;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        /* `parley help serve` is what some people type. */
        for (const struct pl_command *c = pl_commands; argc > 2 && c->name; c++) {
            char help[] = "--help";
            char *args[] = {argv[2], help, NULL};
            if (strcmp(c->name, argv[2]) == 0)
                return c->run(2, args);
        }
        print_help(stdout);
        return PL_EXIT_OK;
    }
    if (!name[0]) {
        print_help(stderr);
        return PL_EXIT_USAGE;
    }
    fprintf(stderr, "parley: there is no command %s; parley --help lists them\n", name);
    return PL_EXIT_USAGE;
}
