/*
 * What the client commands read and print alike: numbers, durations, header blocks, messages.
 */
#ifndef PL_CLI_TEXT_H
#define PL_CLI_TEXT_H

#include <stdio.h>

#include "cli/nats_client.h"

/* "parley pub: <text>" and, for a usage error, how to get help. Returns the exit code. */
int pl_cli_fail(const char *command, const char *format, ...) PL_PRINTF(2, 3);
int pl_cli_usage(const char *command, const char *format, ...) PL_PRINTF(2, 3);

/* All of text is a number from min to max; false: it is not. */
bool pl_cli_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* "2", "2s", "500ms", "1.5s", "3m", "1h", "30d"; a bare number is seconds. */
bool pl_cli_duration(const char *text, uint64_t *out_ms);

/* A subject that can be published to: no empty token, no wildcard, no space. */
bool pl_cli_is_subject(const char *text);

/* A header block that is being put together. */
struct pl_cli_head {
    struct pl_shared *block; /* owned; NULL: empty */
};

/* "Name: value"; false: it is none, or there is no memory. */
bool pl_cli_head_add(struct pl_cli_head *head, const char *line);
bool pl_cli_head_set(struct pl_cli_head *head, const char *name, const char *value);
/* The block with its end; empty if there are no headers. */
struct pl_bytes pl_cli_head_block(const struct pl_cli_head *head);
void pl_cli_head_done(struct pl_cli_head *head);

/* All of a stream, of at most max bytes. Frees with pl_free. NULL: too much, or no memory. */
uint8_t *pl_cli_read_all(FILE *from, size_t max, size_t *out_len);

enum pl_cli_style {
    PL_CLI_LINE, /* subject and payload, what is not text escaped */
    PL_CLI_TEXT, /* the same with its line breaks, the last of which may be its own */
    PL_CLI_RAW,  /* the payload as it is and a line break */
    PL_CLI_JSON, /* an object a line */
};

/* Prints a message; false: the output is closed. */
bool pl_cli_print(FILE *to, const struct pl_nats_client_event *message, enum pl_cli_style style,
    bool with_subject, bool with_headers);

/* The status of a header block ("503"), empty if it has none. */
struct pl_bytes pl_cli_status(struct pl_bytes block);
/* A name for replies: "_INBOX." and 22 random letters. out has room for PL_CLI_INBOX_MAX. */
enum { PL_CLI_INBOX_MAX = 32 };
void pl_cli_new_inbox(char *out);

#endif
