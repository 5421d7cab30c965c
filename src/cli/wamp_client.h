/*
 * A session of WAMP for the command line, by libparley, and what its arguments look like as text.
 *
 *     struct pl_cli_wamp wamp = {.realm = NULL};
 *     if (!pl_cli_wamp_open("call", &server, &wamp)) … wamp.client
 */
#ifndef PL_CLI_WAMP_CLIENT_H
#define PL_CLI_WAMP_CLIENT_H

#include <parley/parley.h>

#include "cli/nats_client.h"

enum { PL_CLI_ANSWER_MS = 10000 };

/* clang-format off */
#define PL_CLI_WAMP_HELP                                                                     \
    "\nThe server:\n"                                                                        \
    "  -s, --server URL     ws://[user:password@]host[:port][/path], wss://…, rs://host:port,\n" \
    "                       rss://… or unix:/path (default: $PARLEY_URL, else\n"             \
    "                       ws://127.0.0.1:8080/)\n"                                         \
    "      --realm NAME     (default: realm1)\n"                                             \
    "      --user NAME      with --password WORD (or $PARLEY_PASSWORD)\n"                    \
    "      --token TOKEN    a ticket or JWT (or $PARLEY_TOKEN)\n"                            \
    "      --tls-ca FILE    trust these certificates, for example the server's own\n"        \
    "      --tls-insecure   trust any certificate\n"                                         \
    "  -h, --help           this text\n"                                                     \
    "\nExit code: 0 done, 1 failed or timed out, 2 wrong usage.\n"
/* clang-format on */

/* Does the URL that counts (the option's, else $PARLEY_URL) name a WAMP transport? unix: does if a
 * realm is given. */
bool pl_cli_is_wamp(const struct pl_nats_client_options *server, const char *realm);

/* Joined, or NULL: a line on stderr says why. */
PL_MUST_USE struct parley_client *pl_cli_wamp_open(
    const char *command, const struct pl_nats_client_options *server, const char *realm);

/* A value as the command line says it: JSON if it is valid JSON, else a string. */
void pl_cli_put_value(struct parley_args *args, const char *text);
/* A payload as other protocols' become arguments: what is a JSON object or list is that value, else
 * a string, or binary. */
void pl_cli_put_payload(struct parley_args *args, struct pl_bytes payload);

/* Arguments as protocols without them carry these; to be freed with pl_free. NULL: no memory. */
PL_MUST_USE char *pl_cli_plain(const struct parley_message *message, size_t *out_len);

/* "parley call: com.example.error: text". Returns the exit code. */
int pl_cli_wamp_fail(
    const char *command, enum parley_code code, const struct parley_message *message);

#endif
