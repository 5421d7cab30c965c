/* pub and sub where the URL names a transport of WAMP. */
#ifndef PL_CLI_WAMP_PUBSUB_H
#define PL_CLI_WAMP_PUBSUB_H

#include "cli/text.h"

struct pl_cli_wamp_sub {
    const char *realm;
    char **patterns; /* as for NATS: `*` is one token, a last `>` is what begins so */
    int pattern_count;
    uint64_t count, timeout_ms; /* 0: none */
    enum pl_cli_style style;
};

int pl_cli_wamp_sub(
    const struct pl_nats_client_options *server, const struct pl_cli_wamp_sub *wanted);

/* Publishes it `count` times, each acknowledged. Returns the exit code. */
int pl_cli_wamp_pub(const struct pl_nats_client_options *server, const char *realm,
    const char *topic, struct pl_bytes payload, uint64_t count);

#endif
