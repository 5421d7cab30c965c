/*
 * The server as a whole.
 *
 *     exit(pl_server_run(&(struct pl_server_options){.config_file = "parley.yaml"}));
 */
#ifndef PL_SERVER_SERVER_H
#define PL_SERVER_SERVER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* What pl_server_run returns: the exit codes of `parley`. */
enum { PL_SERVED = 0, PL_SERVE_FAILED = 1, PL_SERVE_REFUSED = 2 };

struct pl_server_options {
    const char *config_file; /* NULL: the defaults */
    const char *const *sets; /* "key=value" */
    uint32_t set_count;
    const struct pl_nexus_flags *nexus; /* not NULL: config_file is nexusd's, see nexus.h */
    const char *ports_file;             /* written when everything listens; NULL: not */
    const char *command; /* whose options config_text stands for, as errors name it; variables of
                            the environment count as with a file. NULL: none */

    /* Of a server inside a program. */
    const char *config_text; /* instead of config_file: YAML, borrowed; NULL: none */
    bool has_no_listeners;   /* those of the configuration are left out */
    bool needs_local_login;  /* sessions of this process have to log in, too */
};

/*
 * Serves until SIGTERM or SIGINT; call it in a process without other threads. SIGHUP reads users,
 * keys, certificates, roles and the log level again. Returns the process' exit code: 0 ended in
 * order; 1 could not go on; 2 configuration, port or certificate: nothing was served, and one line
 * on stderr says why.
 */
int pl_server_run(const struct pl_server_options *options);

/*
 * A server inside a program, on threads of its own. Signals are the program's. PL_CONFIG,
 * PL_EXISTS, PL_IO, PL_NO_MEMORY: diag is one line for people.
 */
struct pl_server;
PL_MUST_USE enum pl_err pl_server_open(
    const struct pl_server_options *options, struct pl_server **out, struct pl_diag *diag);
/* Any thread: a connected socket whose other end it serves as WAMP over RawSocket, to someone who
 * is trusted with everything unless needs_local_login. PL_CLOSED, PL_IO, PL_NO_MEMORY. */
PL_MUST_USE enum pl_err pl_server_connect(struct pl_server *server, int *out_fd);
/* The port that a listener has; 0: there is none of that name, or it is no TCP listener. */
uint16_t pl_server_port(const struct pl_server *server, const char *listener);
/* Goodbye to everyone, at most as long as drain.timeout says, then the end. Accepts NULL. */
void pl_server_close(struct pl_server *server);

/* The same as pl_server_run as far as it goes without listening: reads configuration, users, roles,
 * keys and certificates, and tells the first error or that all is fine. */
int pl_server_check(const struct pl_server_options *options);
/* Where a server with that configuration has its store; freed by the caller with pl_free. */
PL_MUST_USE enum pl_err pl_server_store_file(
    const struct pl_server_options *options, char **out, struct pl_diag *diag);

#endif
