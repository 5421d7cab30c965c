#include "cli/commands.h"

#include <stddef.h>

#define CLIENT_OPTIONS                                                                             \
    "--server --user --password --token --tls-ca --tls-insecure --tls-first --help"

const struct pl_command pl_commands[] = {
    {"serve", pl_cmd_serve, "run the server", "--config --set --data --ports-file --help"},
    {"mles", pl_cmd_mles, "run a chat server with web pages, with the options of Mles",
        "--domains --wwwroot --email --cache --limit --filelimit --staging --port --redirect "
        "--compression-cache --proxy --rate-limit --cert --key --directory --ca --redirect-port "
        "--peer --data --set --ports-file --help"},
    {"check", pl_cmd_check, "look a configuration over, print the defaults",
        "--defaults --set --print-reference --print-metrics --help"},
    {"pub", pl_cmd_pub, "publish a message",
        "--header --content-type --ttl --reply --count --stdin-lines --realm " CLIENT_OPTIONS},
    {"sub", pl_cmd_sub, "print what is published",
        "--queue --count --timeout --json --raw --headers --realm " CLIENT_OPTIONS},
    {"request", pl_cmd_request, "ask, and print the answer",
        "--header --count --timeout --json --raw --headers " CLIENT_OPTIONS},
    {"reply", pl_cmd_reply, "answer requests",
        "--command --text --echo --queue --count --header " CLIENT_OPTIONS},
    {"call", pl_cmd_call, "call a procedure of WAMP",
        "--keyword --progress --timeout --disclose --json --realm " CLIENT_OPTIONS},
    {"register", pl_cmd_register, "answer calls of WAMP",
        "--command --file --echo --match --invoke --force --count --realm " CLIENT_OPTIONS},
    {"bench", pl_cmd_bench, "measure messages per second and their latency",
        "pubsub fanout request --publishers --subscribers --size --count --seconds --window --rate "
        "--json --quiet " CLIENT_OPTIONS},
    {"token", pl_cmd_token, "make a token (JWT), or look into one",
        "--key --secret-file --user --role --expires --realm --issuer --audience --id --claim "
        "--alg --kid --inspect --help"},
    {"user", pl_cmd_user, "change the file of users and their secrets",
        "add passwd remove list --file --role --attribute --method --key --certificate "
        "--password-stdin --help"},
    {"store", pl_cmd_store, "look into the file of what outlives the server",
        "check stats vacuum export --config --data --set --help"},
    {"completion", pl_cmd_completion, "print a script that completes commands in your shell",
        "bash zsh --help"},
    {NULL, NULL, NULL, NULL},
};
