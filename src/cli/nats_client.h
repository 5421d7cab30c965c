/*
 * A NATS client for the command line: one thread, one connection each, nothing in the background.
 *
 *     struct pl_nats_client *c;
 *     if (pl_nats_client_open(&options, &c, &diag)) …          connected, logged in, answered
 *     pl_nats_client_publish(c, subject, reply, head, payload);
 *     while (!(err = pl_nats_client_wait(&c, 1, 1000)))
 *         while (pl_nats_client_next(c, &event)) …
 *     pl_nats_client_close(c);
 *
 * Writing only queues; pl_nats_client_wait sends and reads. What an event shows lies in the
 * client's buffer until the next pl_nats_client_wait.
 */
#ifndef PL_CLI_NATS_CLIENT_H
#define PL_CLI_NATS_CLIENT_H

#include <getopt.h>

#include "codec/nats.h"

struct pl_nats_client;

struct pl_nats_client_options {
    const char *server;                  /* NULL: $PARLEY_URL, else nats://127.0.0.1:4222 */
    const char *user, *password, *token; /* NULL: what the URL says */
    const char *ca_file;                 /* NULL: what the system trusts */
    bool insecure;                       /* any certificate will do */
    bool tls_first;                      /* TLS before the server's first word */
    bool no_echo;
    uint64_t connect_ms; /* 0: 5000 */
};

/* The options that every client command has. In a getopt_long table: PL_NATS_CLIENT_OPTIONS, and
 * for what getopt_long returns pl_nats_client_option: true, it was one of them. */
enum {
    PL_OPTION_USER = 1000,
    PL_OPTION_PASSWORD,
    PL_OPTION_TOKEN,
    PL_OPTION_CA,
    PL_OPTION_INSECURE,
    PL_OPTION_TLS_FIRST,
    PL_OPTION_OWN, /* a command's own begin here */
};

/* clang-format off */
#define PL_NATS_CLIENT_OPTIONS                                             \
    {"server", required_argument, NULL, 's'},                         \
    {"user", required_argument, NULL, PL_OPTION_USER},                \
    {"password", required_argument, NULL, PL_OPTION_PASSWORD},        \
    {"token", required_argument, NULL, PL_OPTION_TOKEN},              \
    {"tls-ca", required_argument, NULL, PL_OPTION_CA},                \
    {"tls-insecure", no_argument, NULL, PL_OPTION_INSECURE},          \
    {"tls-first", no_argument, NULL, PL_OPTION_TLS_FIRST},            \
    {"help", no_argument, NULL, 'h'}

#define PL_NATS_CLIENT_HELP                                                                     \
    "\nThe server:\n"                                                                      \
    "  -s, --server URL     nats://[user:password@]host[:port], tls://… or unix:/path\n"   \
    "                       (default: $PARLEY_URL, else nats://127.0.0.1:4222)\n"          \
    "      --user NAME      with --password WORD (or $PARLEY_PASSWORD)\n"                  \
    "      --token TOKEN    a JWT (or $PARLEY_TOKEN)\n"                                    \
    "      --tls-ca FILE    trust these certificates, for example the server's own\n"      \
    "      --tls-insecure   trust any certificate\n"                                       \
    "      --tls-first      begin with TLS, for a listener that is all TLS\n"              \
    "  -h, --help           this text\n"                                                   \
    "\nExit code: 0 done, 1 failed or timed out, 2 wrong usage.\n"
/* clang-format on */

bool pl_nats_client_option(
    struct pl_nats_client_options *options, int option, const char *argument);

PL_MUST_USE enum pl_err pl_nats_client_open(const struct pl_nats_client_options *options,
    struct pl_nats_client **out, struct pl_diag *diag);
/* Sends what is queued as far as the server takes it within a second. Accepts NULL. */
void pl_nats_client_close(struct pl_nats_client *c);

const struct pl_nats_info *pl_nats_client_info(const struct pl_nats_client *c);
/* "127.0.0.1:4222", for people. */
const char *pl_nats_client_name(const struct pl_nats_client *c);
/* Why pl_nats_client_wait failed, for people. */
const char *pl_nats_client_error(const struct pl_nats_client *c);
/* Bytes that are queued and not sent. */
size_t pl_nats_client_queued(const struct pl_nats_client *c);

PL_MUST_USE enum pl_err pl_nats_client_publish(struct pl_nats_client *c, struct pl_bytes subject,
    struct pl_bytes reply, struct pl_bytes head, struct pl_bytes payload);
PL_MUST_USE enum pl_err pl_nats_client_subscribe(
    struct pl_nats_client *c, struct pl_bytes pattern, struct pl_bytes queue, uint32_t sid);
/* PL_NATS_CLIENT_PONG comes behind the answers to all that was asked for before. */
PL_MUST_USE enum pl_err pl_nats_client_ping(struct pl_nats_client *c);

enum pl_nats_client_event_kind {
    PL_NATS_CLIENT_MESSAGE,
    PL_NATS_CLIENT_PONG,
    PL_NATS_CLIENT_ERROR
};

struct pl_nats_client_event {
    uint8_t kind; /* enum pl_nats_client_event_kind */
    struct pl_bytes subject, sid, reply;
    struct pl_bytes head, payload; /* head: the header block, or empty */
    struct pl_bytes text;          /* of an ERROR, without quotes */
};

/* True: *out is the next event that has been read. */
bool pl_nats_client_next(struct pl_nats_client *c, struct pl_nats_client_event *out);

/*
 * Sends and reads on all of them, waiting up to timeout_ms (negative: for ever) for something to
 * come, or for queued bytes to leave. Only when the events of before have been taken. Calls with
 * one client that is closed answer PL_CLOSED; pl_nats_client_error tells more.
 */
PL_MUST_USE enum pl_err pl_nats_client_wait(
    struct pl_nats_client *const *clients, size_t count, int64_t timeout_ms);

/*
 * Waits until the server has answered a PING that is sent here, and drops messages that come. An
 * -ERR, the end of the connection or the time limit fails; pl_nats_client_error tells which.
 */
PL_MUST_USE enum pl_err pl_nats_client_sync(struct pl_nats_client *c, uint64_t timeout_ms);

/* For commands: monotonic time. */
uint64_t pl_nats_client_now_ns(void);

#endif
