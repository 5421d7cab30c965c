/* A command that answers: the request on its standard input, the answer from its standard output.
 */
#ifndef PL_CLI_RUN_H
#define PL_CLI_RUN_H

#include "base/bytes.h"

/* Runs it by the shell; $PARLEY_SUBJECT is `subject`. The answer has at most max bytes and is freed
 * with pl_free. NULL: it failed, or could not be run. */
uint8_t *pl_cli_run_command(const char *command, struct pl_bytes subject, struct pl_bytes request,
    size_t max, size_t *out_len);

#endif
