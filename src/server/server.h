/*
 * The server as a whole.
 *
 *     exit(pl_server_run(&(struct pl_server_options){.config_file = "parley.yaml"}));
 */
#ifndef PL_SERVER_SERVER_H
#define PL_SERVER_SERVER_H

#include <stdint.h>

/* What pl_server_run returns: the exit codes of `parley`. */
enum { PL_SERVED = 0, PL_SERVE_FAILED = 1, PL_SERVE_REFUSED = 2 };

struct pl_server_options {
    const char *config_file; /* NULL: the defaults */
    const char *const *sets; /* "key=value" */
    uint32_t set_count;
    const struct pl_nexus_flags *nexus; /* not NULL: config_file is nexusd's, see nexus.h */
    const char *ports_file;             /* written when everything listens; NULL: not */
};

/*
 * Serves until SIGTERM or SIGINT; call it in a process without other threads. SIGHUP reads users,
 * keys, certificates, roles and the log level again. Returns the process' exit code: 0 ended in
 * order; 1 could not go on; 2 configuration, port or certificate: nothing was served, and one line
 * on stderr says why.
 */
int pl_server_run(const struct pl_server_options *options);

/* The same as far as it goes without listening: reads configuration, users, roles, keys and
 * certificates, and tells the first error or that all is fine. */
int pl_server_check(const struct pl_server_options *options);

#endif
