#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

static const char help[] =
    "Usage: parley completion bash|zsh\n"
    "\n"
    "Prints a script that lets your shell complete commands and options:\n"
    "\n"
    "    parley completion bash > ~/.local/share/bash-completion/completions/parley\n"
    "    parley completion zsh > ~/.zfunc/_parley        # and fpath+=~/.zfunc in ~/.zshrc\n";

static void print_bash(void)
{
    fputs("_parley()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    case $before in\n"
          "        --config|-c|--ports-file|--data|-d|--tls-ca) COMPREPLY=(); return;;\n"
          "    esac\n"
          "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
          "        COMPREPLY=($(compgen -W \"",
        stdout);
    for (const struct pl_command *c = pl_commands; c->name; c++)
        printf("%s ", c->name);
    fputs("--help --version\" -- \"$word\"))\n        return\n    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
        stdout);
    for (const struct pl_command *c = pl_commands; c->name; c++)
        printf(
            "        %s) COMPREPLY=($(compgen -W \"%s\" -- \"$word\"));;\n", c->name, c->options);
    fputs("    esac\n}\ncomplete -o default -F _parley parley\n", stdout);
}

static void print_zsh(void)
{
    fputs("#compdef parley\n\n_parley()\n{\n    local -a commands\n    commands=(\n", stdout);
    for (const struct pl_command *c = pl_commands; c->name; c++)
        printf("        '%s:%s'\n", c->name, c->summary);
    fputs("    )\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe command commands\n"
          "        return\n"
          "    fi\n"
          "    case $words[2] in\n",
        stdout);
    for (const struct pl_command *c = pl_commands; c->name; c++)
        printf("        %s) compadd -- %s; _files;;\n", c->name, c->options);
    fputs("    esac\n}\n\n_parley \"$@\"\n", stdout);
}

int pl_cmd_completion(int argc, char **argv)
{
    const char *shell = argc == 2 ? argv[1] : "";
    if (strcmp(shell, "bash") == 0) {
        print_bash();
    } else if (strcmp(shell, "zsh") == 0) {
        print_zsh();
    } else if (strcmp(shell, "--help") == 0 || strcmp(shell, "-h") == 0) {
        fputs(help, stdout);
    } else {
        fputs("parley completion: bash or zsh is expected\n", stderr);
        return PL_EXIT_USAGE;
    }
    return PL_EXIT_OK;
}
