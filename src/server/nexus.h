/*
 * nexusd's configuration, read as ours: its JSON file and its flags become the text of a
 * configuration of ours, which config.h parses.
 *
 *     nexus.json:7: router.realms.require_local_auth: has no meaning here     (a warning)
 */
#ifndef PL_SERVER_NEXUS_H
#define PL_SERVER_NEXUS_H

#include "base/bytes.h"

/* Flags of nexusd that stand instead of what the file says; NULL: not given. */
struct pl_nexus_flags {
    const char *realm, *ws, *tcp, *unix;
};

/*
 * file: its name in warnings and errors. text: what it holds; empty: nexusd without a file, which
 * has one realm for everyone.
 *
 * What is not known, or means nothing here, is told on stderr, a line each. *out: one reference.
 * PL_CONFIG: diag is one line for people. PL_NO_MEMORY.
 */
PL_MUST_USE enum pl_err pl_nexus_translate(const char *file, struct pl_bytes text,
    const struct pl_nexus_flags *flags, struct pl_shared **out, struct pl_diag *diag);

#endif
