#include "cli/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/text.h"
#include "codec/json.h"

int pl_cli_fail(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "parley %s: ", command);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    return 1;
}

int pl_cli_usage(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "parley %s: ", command);
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, " (parley %s --help tells more)\n", command);
    va_end(args);
    return 2;
}

bool pl_cli_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t v;
    if (pl_parse_decimal(pl_bytes_text(text), max, &v) != PL_OK || v < min)
        return false;
    *out = v;
    return true;
}

bool pl_cli_duration(const char *text, uint64_t *out_ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end;
    if (!((*text >= '0' && *text <= '9') || *text == '.'))
        return false;
    double v = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].name) == 0 && v * units[i].ms < 1e15) {
            *out_ms = (uint64_t)(v * units[i].ms + 0.5);
            return true;
        }
    return false;
}

bool pl_cli_is_subject(const char *text)
{
    size_t token = 0, i = 0;
    for (;; i++) {
        if (text[i] == '.' || !text[i]) {
            bool is_wild = i == token + 1 && (text[token] == '*' || text[token] == '>');
            if (i == token || is_wild)
                return false;
            if (!text[i])
                return true;
            token = i + 1;
        } else if (strchr(" \t\r\n", text[i])) {
            return false;
        }
    }
}

bool pl_cli_head_set(struct pl_cli_head *head, const char *name, const char *value)
{
    if (!*name || strpbrk(name, ":\r\n") || strpbrk(value, "\r\n"))
        return false;
    struct pl_writer w = pl_writer_new();
    if (head->block)
        pl_write_bytes(&w, pl_bytes_of(head->block->data, head->block->len - 2));
    else
        pl_write_text(&w, "NATS/1.0\r\n");
    pl_write_text(&w, name);
    pl_write_text(&w, ": ");
    pl_write_text(&w, value);
    pl_write_text(&w, "\r\n\r\n");
    struct pl_shared *block;
    if (pl_writer_take(&w, &block) != PL_OK)
        return false;
    pl_shared_unref(head->block);
    head->block = block;
    return true;
}

bool pl_cli_head_add(struct pl_cli_head *head, const char *line)
{
    const char *colon = strchr(line, ':');
    if (!colon || colon == line)
        return false;
    char name[256];
    size_t len = (size_t)(colon - line);
    if (len >= sizeof name)
        return false;
    memcpy(name, line, len);
    name[len] = 0;
    return pl_cli_head_set(head, name, colon + 1 + strspn(colon + 1, " "));
}

struct pl_bytes pl_cli_head_block(const struct pl_cli_head *head)
{
    return head->block ? pl_bytes_of(head->block->data, head->block->len) : PL_NO_BYTES;
}

void pl_cli_head_done(struct pl_cli_head *head)
{
    head->block = pl_shared_unref(head->block);
}

uint8_t *pl_cli_read_all(FILE *from, size_t max, size_t *out_len)
{
    size_t len = 0, cap = 4096;
    uint8_t *data = pl_alloc(cap);
    while (data) {
        size_t n = fread(data + len, 1, cap - len, from);
        len += n;
        if (len > max) {
            pl_free(data);
            return NULL;
        }
        if (!n)
            break;
        if (len == cap) {
            uint8_t *bigger = pl_realloc(data, cap * 2);
            if (!bigger)
                pl_free(data);
            data = bigger;
            cap *= 2;
        }
    }
    *out_len = len;
    return data;
}

/* Text as it is; control bytes and what is no UTF-8 as escapes, so that it cannot steer a terminal;
 * with a line for each message, line breaks and backslashes too. */
static void print_escaped(FILE *to, struct pl_bytes text, bool as_line)
{
    size_t i = 0;
    while (i < text.len) {
        uint32_t code;
        size_t n = pl_utf8_next(pl_bytes_from(text, i), &code);
        bool is_control = n && (code < 0x20 || (code >= 0x7F && code < 0xA0));
        if (n && code == '\n' && as_line)
            (void)fputs("\\n", to);
        else if (n && code == '\\' && as_line)
            (void)fputs("\\\\", to);
        else if (n && (!is_control || code == '\t' || code == '\n'))
            (void)fwrite(text.data + i, 1, n, to);
        else
            for (size_t k = 0; k < (n ? n : 1); k++)
                (void)fprintf(to, "\\x%02x", text.data[i + k]);
        i += n ? n : 1;
    }
}

static bool ends_line(struct pl_bytes text)
{
    return text.len && text.data[text.len - 1] == '\n';
}

static void write_member(struct pl_writer *w, const char *name, struct pl_bytes value)
{
    pl_write_text(w, ",\"");
    pl_write_text(w, name);
    pl_write_text(w, "\":");
    pl_json_write_string(w, value);
}

static void write_base64(struct pl_writer *w, struct pl_bytes bytes)
{
    size_t len = 4 * ((bytes.len + 2) / 3);
    uint8_t *at = pl_writer_room(w, len);
    if (at)
        (void)pl_base64_encode(bytes, false, (char *)at);
}

static void write_headers(struct pl_writer *w, struct pl_bytes block)
{
    struct pl_nats_head head;
    struct pl_bytes status, name, value;
    const char *comma = "";
    if (!block.len || pl_nats_head_begin(&head, block, &status) != PL_OK)
        return;
    if (status.len)
        write_member(w, "status", status);
    pl_write_text(w, ",\"headers\":[");
    while (pl_nats_head_next(&head, &name, &value)) {
        pl_write_text(w, comma);
        pl_write_u8(w, '[');
        pl_json_write_string(w, name);
        pl_write_u8(w, ',');
        pl_json_write_string(w, value);
        pl_write_u8(w, ']');
        comma = ",";
    }
    pl_write_u8(w, ']');
}

static void print_json(FILE *to, const struct pl_nats_client_event *m)
{
    struct pl_writer w = pl_writer_new();
    struct pl_shared *line;
    pl_write_text(&w, "{\"subject\":");
    pl_json_write_string(&w, m->subject);
    if (pl_utf8_is_valid(m->payload)) {
        write_member(&w, "payload", m->payload);
    } else {
        pl_write_text(&w, ",\"payload_base64\":\"");
        write_base64(&w, m->payload);
        pl_write_u8(&w, '"');
    }
    if (m->reply.len)
        write_member(&w, "reply", m->reply);
    write_headers(&w, m->head);
    pl_write_text(&w, "}\n");
    if (pl_writer_take(&w, &line) != PL_OK)
        return;
    (void)fwrite(line->data, 1, line->len, to);
    pl_shared_unref(line);
}

static void print_headers(FILE *to, struct pl_bytes block)
{
    struct pl_nats_head head;
    struct pl_bytes status, name, value;
    if (!block.len || pl_nats_head_begin(&head, block, &status) != PL_OK)
        return;
    if (status.len) {
        (void)fputs("  status ", to);
        print_escaped(to, status, true);
        (void)fputc('\n', to);
    }
    while (pl_nats_head_next(&head, &name, &value)) {
        (void)fputs("  ", to);
        print_escaped(to, name, true);
        (void)fputs(": ", to);
        print_escaped(to, value, true);
        (void)fputc('\n', to);
    }
}

bool pl_cli_print(FILE *to, const struct pl_nats_client_event *m, enum pl_cli_style style,
    bool with_subject, bool with_headers)
{
    switch (style) {
    case PL_CLI_JSON:
        print_json(to, m);
        break;
    case PL_CLI_RAW:
        (void)fwrite(m->payload.data, 1, m->payload.len, to);
        (void)fputc('\n', to);
        break;
    case PL_CLI_LINE:
    case PL_CLI_TEXT:
        if (with_subject) {
            print_escaped(to, m->subject, true);
            (void)fputc(' ', to);
        }
        print_escaped(to, m->payload, style == PL_CLI_LINE);
        if (style == PL_CLI_LINE || !ends_line(m->payload))
            (void)fputc('\n', to);
        if (with_headers)
            print_headers(to, m->head);
        break;
    }
    return fflush(to) == 0;
}

struct pl_bytes pl_cli_status(struct pl_bytes block)
{
    struct pl_nats_head head;
    struct pl_bytes status;
    if (!block.len || pl_nats_head_begin(&head, block, &status) != PL_OK)
        return PL_NO_BYTES;
    return status;
}

void pl_cli_new_inbox(char *out)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    enum { LETTERS = 22 };
    uint8_t random[LETTERS] = {0};
    size_t n = 7;
    memcpy(out, "_INBOX.", n);
    /* Others' names must not be guessed, so nothing else will do; it cannot fail for so few. */
    while (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        continue;
    for (size_t i = 0; i < LETTERS; i++)
        out[n++] = letters[random[i] % (sizeof letters - 1)];
    out[n] = 0;
}
