#include "cli/commands.h"

#include <stddef.h>

const struct pl_command pl_commands[] = {
    {"serve", pl_cmd_serve, "run the server", "--config --set --data --ports-file --help"},
    {"check", pl_cmd_check, "look a configuration over, print the defaults",
        "--defaults --set --print-reference --print-metrics --help"},
    {"completion", pl_cmd_completion, "print a script that completes commands in your shell",
        "bash zsh --help"},
    {NULL, NULL, NULL, NULL},
};
