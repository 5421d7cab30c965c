/*
 * Structured log lines on stderr: time, level, a stable event name, then key=value.
 *
 *     pl_log(PL_LOG_INFO, "listening", "address=%s port=%d", address, port);
 *
 * Floors 1 to 4 log at debug at most; the server logs an event once, where it is handled. Never a
 * secret, never a payload. Any thread. The level is the one mutable global of the program.
 */
#ifndef PL_BASE_LOG_H
#define PL_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum pl_log_level { PL_LOG_DEBUG, PL_LOG_INFO, PL_LOG_WARN, PL_LOG_ERROR };

void pl_log_set_level(enum pl_log_level level);
bool pl_log_is_on(enum pl_log_level level);
/* format may be NULL. Line breaks and control bytes in the values come out as '?'. */
void pl_log(enum pl_log_level level, const char *event, const char *format, ...) PL_PRINTF(3, 4);

#endif
