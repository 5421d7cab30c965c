/*
 * Opens files beneath a folder and nowhere else, whatever links say.
 */
#ifndef PL_WEB_BENEATH_H
#define PL_WEB_BENEATH_H

#include "base/err.h"

/*
 * name: relative to the folder; empty: itself. flags: of open(2), O_CLOEXEC is added. A symbolic
 * link may lead to anywhere beneath the folder, and to no place outside; where the kernel cannot
 * see to that (before Linux 5.6), no link is followed.
 *
 * The descriptor is the caller's. PL_NOT_FOUND: it is not there, may not be read, or lies outside.
 * PL_LIMIT: no more descriptors. PL_IO.
 */
PL_MUST_USE enum pl_err pl_web_open_beneath(int folder, const char *name, int flags, int *out_fd);
/* The same without the kernel's help: what it falls back to. */
PL_MUST_USE enum pl_err pl_web_open_by_steps(int folder, const char *name, int flags, int *out_fd);

#endif
