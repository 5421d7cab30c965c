#include "web/proxy.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/output.h"
#include "codec/http.h"

enum { HEAD_MAX = 65536 };

/* A handle keeps its connections, so one is taken again rather than made. */
struct idle {
    struct idle *next;
    CURL *curl; /* owned */
};

struct pl_proxy {
    struct pl_proxy_options options;
    atomic_bool is_ending;
    pthread_mutex_t lock; /* guards all below */
    struct idle *idle;
    uint32_t idle_count;
};

enum pl_err pl_proxy_new(const struct pl_proxy_options *options, struct pl_proxy **out)
{
    struct pl_proxy *proxy = pl_zalloc(sizeof *proxy);
    if (!proxy)
        return PL_NO_MEMORY;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        pl_free(proxy);
        return PL_IO;
    }
    proxy->options = *options;
    pthread_mutex_init(&proxy->lock, NULL);
    *out = proxy;
    return PL_OK;
}

void pl_proxy_end(struct pl_proxy *proxy)
{
    if (proxy)
        atomic_store(&proxy->is_ending, true);
}

struct pl_proxy *pl_proxy_free(struct pl_proxy *proxy)
{
    if (!proxy)
        return NULL;
    while (proxy->idle) {
        struct idle *idle = proxy->idle;
        proxy->idle = idle->next;
        curl_easy_cleanup(idle->curl);
        pl_free(idle);
    }
    pthread_mutex_destroy(&proxy->lock);
    pl_free(proxy);
    curl_global_cleanup();
    return NULL;
}

/* ---- Which upstream ---- */

/* "/a/b/" → "a/b" */
static struct pl_bytes strip(struct pl_bytes text)
{
    while (text.len && text.data[0] == '/')
        text = pl_bytes_from(text, 1);
    while (text.len && text.data[text.len - 1] == '/')
        text.len--;
    return text;
}

static bool is_below(struct pl_bytes path, struct pl_bytes prefix)
{
    return path.len > prefix.len && path.data[0] == '/' &&
           memcmp(path.data + 1, prefix.data, prefix.len) == 0 &&
           (path.len == prefix.len + 1 || path.data[prefix.len + 1] == '/');
}

const struct pl_proxy_target *pl_proxy_find(const struct pl_proxy *proxy, struct pl_bytes path)
{
    const struct pl_proxy_target *best = NULL;
    size_t best_len = 0;
    for (uint32_t i = 0; i < proxy->options.target_count; i++) {
        const struct pl_proxy_target *target = &proxy->options.targets[i];
        struct pl_bytes prefix = strip(pl_bytes_text(target->prefix));
        if (is_below(path, prefix) && prefix.len > best_len) {
            best = target;
            best_len = prefix.len;
        }
    }
    return best;
}

/* ---- What is asked ---- */

/* Upstreams that know headers as variables take _ for -. */
static bool is_name(struct pl_bytes name, const char *wanted)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i] == '_' ? '-' : name.data[i];
        if (!wanted[i] || (c | 0x20) != (wanted[i] | 0x20))
            return false;
    }
    return !wanted[name.len];
}

/* Headers that concern one connection. */
static bool is_of_connection(struct pl_bytes name)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection",
        "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade", "content-length"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (is_name(name, names[i]))
            return true;
    }
    return false;
}

static bool is_ours_to_say(struct pl_bytes name)
{
    static const char *const names[] = {"host", "expect", "forwarded", "x-forwarded-for",
        "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (is_name(name, names[i]))
            return true;
    }
    return false;
}

/* Does a Connection header name it? */
static bool is_named(const struct pl_http_request *request, struct pl_bytes name)
{
    for (uint32_t i = 0; i < request->header_count; i++) {
        struct pl_bytes list = request->headers[i].value, element;
        if (!pl_bytes_equal_nocase(request->headers[i].name, PL_BYTES("connection")))
            continue;
        while (pl_http_next_element(&list, &element))
            if (pl_bytes_equal_nocase(element, name))
                return true;
    }
    return false;
}

static const char *concat(struct pl_arena *arena, const struct pl_bytes *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    char *text = pl_arena_alloc(arena, len + 1), *at = text;
    if (!text)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len)
            memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    *at = '\0';
    return text;
}

static bool add_line(
    struct pl_arena *arena, struct pl_proxy_ask *ask, struct pl_bytes name, struct pl_bytes value)
{
    /* libcurl's way to say that it is there and empty. */
    const struct pl_bytes parts[] = {name, value.len ? PL_BYTES(": ") : PL_BYTES(";"), value};
    const char *line = concat(arena, parts, 3);
    if (line)
        ask->lines[ask->line_count++] = line;
    return line != NULL;
}

static enum pl_err add_lines(const struct pl_http_request *request, struct pl_bytes address,
    bool is_tls, struct pl_arena *arena, struct pl_proxy_ask *out)
{
    /* What libcurl would add by itself; a name alone takes that away. */
    static const char *const own[] = {"Accept", "Content-Type", "User-Agent", "Expect"};
    enum { ADDED = 3 + sizeof own / sizeof *own };
    struct pl_bytes host = pl_http_header(request, "host");
    bool ok = true;
    out->lines = pl_arena_alloc(arena, (request->header_count + ADDED) * sizeof *out->lines);
    if (!out->lines)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < request->header_count && ok; i++) {
        const struct pl_http_header *h = &request->headers[i];
        if (!is_of_connection(h->name) && !is_ours_to_say(h->name) && !is_named(request, h->name))
            ok = add_line(arena, out, h->name, h->value);
    }
    for (size_t i = 0; i < sizeof own / sizeof *own && ok; i++) {
        if (i == 3 || !pl_http_header_count(request, own[i])) {
            const struct pl_bytes parts[] = {pl_bytes_text(own[i]), PL_BYTES(":")};
            ok = (out->lines[out->line_count++] = concat(arena, parts, 2)) != NULL;
        }
    }
    ok = ok && add_line(arena, out, PL_BYTES("X-Forwarded-For"), address) &&
         add_line(arena, out, PL_BYTES("X-Forwarded-Proto"),
             is_tls ? PL_BYTES("https") : PL_BYTES("http")) &&
         (!host.len || add_line(arena, out, PL_BYTES("X-Forwarded-Host"), host));
    return ok ? PL_OK : PL_NO_MEMORY;
}

enum pl_err pl_proxy_ask_make(const struct pl_proxy_target *target,
    const struct pl_http_request *request, struct pl_bytes address, bool is_tls,
    struct pl_arena *arena, struct pl_proxy_ask *out)
{
    struct pl_web_path path;
    struct pl_bytes base = pl_bytes_text(target->url);
    struct pl_bytes rest =
        pl_bytes_from(request->path, 1 + strip(pl_bytes_text(target->prefix)).len);
    /* What goes up here would go up there. */
    if (pl_web_path_parse(request->path, true, &path) != PL_OK)
        return PL_NOT_FOUND;
    while (base.len && base.data[base.len - 1] == '/')
        base.len--;
    const struct pl_bytes parts[] = {base, rest.len ? rest : PL_BYTES("/"),
        request->query.len ? PL_BYTES("?") : PL_NO_BYTES, request->query};
    *out = (struct pl_proxy_ask){
        .url = concat(arena, parts, 4),
        .method = pl_arena_copy(arena, request->method),
        .has_body = request->is_chunked || pl_http_header_count(request, "content-length"),
        .is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD")),
        .keeps_alive = request->keeps_alive,
        .is_old = request->minor == 0,
    };
    return out->url && out->method ? add_lines(request, address, is_tls, arena, out) : PL_NO_MEMORY;
}

/* ---- The exchange with the upstream ---- */

struct talk {
    const struct pl_proxy *proxy;
    const struct pl_proxy_ask *ask;
    struct pl_writer head; /* lines of the answer's head, each with its CRLF */
    struct pl_writer body;
    bool is_head_over; /* what comes as a header now is a trailer */
    bool is_too_large;
};

static bool starts_answer(struct pl_bytes line)
{
    return pl_bytes_starts(line, PL_BYTES("HTTP/"));
}

/* libcurl: one line, with its end. A further status line begins the answer behind an interim one.
 */
static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    struct talk *talk = context;
    struct pl_bytes line = pl_bytes_of(data, size * count);
    if (starts_answer(line)) {
        talk->head.len = 0;
        talk->is_head_over = false;
        return line.len;
    }
    struct pl_bytes text = line;
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    if (!text.len)
        talk->is_head_over = true;
    if (talk->is_head_over)
        return line.len;
    if (talk->head.len + text.len + 2 > HEAD_MAX) {
        talk->is_too_large = true;
        return 0;
    }
    pl_write_bytes(&talk->head, text);
    pl_write_text(&talk->head, "\r\n");
    return talk->head.err ? 0 : line.len;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct talk *talk = context;
    size_t len = size * count;
    if (talk->body.len + len > talk->proxy->options.answer_max) {
        talk->is_too_large = true;
        return 0;
    }
    pl_write_bytes(&talk->body, pl_bytes_of(data, len));
    return talk->body.err ? 0 : len;
}

/* libcurl: not 0 ends it. */
static int on_progress(
    void *context, curl_off_t to_get, curl_off_t got, curl_off_t to_send, curl_off_t sent)
{
    const struct talk *talk = context;
    (void)to_get;
    (void)got;
    (void)to_send;
    (void)sent;
    return atomic_load(&talk->proxy->is_ending) || atomic_load(talk->ask->is_gone);
}

static struct idle *take_handle(struct pl_proxy *proxy)
{
    pthread_mutex_lock(&proxy->lock);
    struct idle *handle = proxy->idle;
    if (handle) {
        proxy->idle = handle->next;
        proxy->idle_count--;
    }
    pthread_mutex_unlock(&proxy->lock);
    if (handle)
        return handle;
    handle = pl_zalloc(sizeof *handle);
    if (handle && !(handle->curl = curl_easy_init())) {
        pl_free(handle);
        handle = NULL;
    }
    return handle;
}

static void give_back(struct pl_proxy *proxy, struct idle *handle)
{
    curl_easy_reset(handle->curl);
    pthread_mutex_lock(&proxy->lock);
    bool is_kept = proxy->idle_count < proxy->options.idle_max;
    if (is_kept) {
        handle->next = proxy->idle;
        proxy->idle = handle;
        proxy->idle_count++;
    }
    pthread_mutex_unlock(&proxy->lock);
    if (!is_kept) {
        curl_easy_cleanup(handle->curl);
        pl_free(handle);
    }
}

static struct curl_slist *list_of(const struct pl_proxy_ask *ask)
{
    struct curl_slist *list = NULL;
    for (uint32_t i = 0; i < ask->line_count; i++) {
        struct curl_slist *more = curl_slist_append(list, ask->lines[i]);
        if (!more) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = more;
    }
    return list;
}

#define SET(option, value) failed |= curl_easy_setopt(curl, (option), (value)) != CURLE_OK

static bool set_options(CURL *curl, struct talk *talk, const struct curl_slist *lines, char *error)
{
    const struct pl_proxy_options *options = &talk->proxy->options;
    const struct pl_proxy_ask *ask = talk->ask;
    bool failed = false;
    SET(CURLOPT_URL, ask->url);
    SET(CURLOPT_PROTOCOLS_STR, "http");
    SET(CURLOPT_PROXY, ""); /* whatever the environment says */
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTPHEADER, lines);
    SET(CURLOPT_ERRORBUFFER, error);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)options->timeout_ms);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, talk);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, talk);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, talk);
    if (ask->is_head) {
        SET(CURLOPT_NOBODY, 1L);
        return !failed;
    }
    if (ask->has_body) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, ask->body.len ? (const char *)ask->body.data : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->body.len);
    }
    SET(CURLOPT_CUSTOMREQUEST, ask->method);
    return !failed;
}

#undef SET

/* ---- The answer to the client ---- */

/* The next "Name: value" of the head's lines. */
static bool next_header(struct pl_bytes *rest, struct pl_bytes *name, struct pl_bytes *value)
{
    while (rest->len) {
        const uint8_t *end = memchr(rest->data, '\r', rest->len);
        size_t len = end ? (size_t)(end - rest->data) : rest->len;
        struct pl_bytes line = pl_bytes_of(rest->data, len);
        *rest = pl_bytes_from(*rest, end && len + 2 <= rest->len ? len + 2 : rest->len);
        size_t i = 0;
        while (i < line.len && pl_http_is_token_byte(line.data[i]))
            i++;
        if (!i || i == line.len || line.data[i] != ':')
            continue; /* no header, and nothing to hand on */
        *name = pl_bytes_of(line.data, i);
        *value = pl_http_trim(pl_bytes_from(line, i + 1));
        if (!value->len ||
            (!memchr(value->data, '\n', value->len) && !memchr(value->data, 0, value->len)))
            return true;
    }
    return false;
}

/* Does the answer's Connection name it? */
static bool is_named_in(struct pl_bytes head, struct pl_bytes wanted)
{
    struct pl_bytes name, list, element;
    while (next_header(&head, &name, &list)) {
        if (!pl_bytes_equal_nocase(name, PL_BYTES("connection")))
            continue;
        while (pl_http_next_element(&list, &element))
            if (pl_bytes_equal_nocase(element, wanted))
                return true;
    }
    return false;
}

static void begin_head(struct pl_writer *w, const struct pl_proxy_ask *ask, unsigned status)
{
    pl_write_text(w, "HTTP/1.1 ");
    pl_write_decimal(w, status);
    pl_write_text(w, " ");
    pl_write_text(w, pl_http_reason(status));
    pl_write_text(w, "\r\n");
    if (!ask->keeps_alive)
        pl_write_text(w, "Connection: close\r\n");
    else if (ask->is_old)
        pl_write_text(w, "Connection: keep-alive\r\n");
}

static void write_length(struct pl_writer *w, uint64_t length)
{
    pl_write_text(w, "Content-Length: ");
    pl_write_decimal(w, length);
    pl_write_text(w, "\r\n");
}

static enum pl_err answer_own(
    const struct pl_proxy_ask *ask, unsigned status, struct pl_web_answer *out)
{
    struct pl_writer w = pl_writer_new();
    const char *reason = pl_http_reason(status);
    begin_head(&w, ask, status);
    write_length(&w, strlen(reason) + 1);
    pl_write_text(&w, "Content-Type: text/plain; charset=utf-8\r\n\r\n");
    if (!ask->is_head) {
        pl_write_text(&w, reason);
        pl_write_text(&w, "\n");
    }
    return pl_writer_take(&w, &out->head);
}

/* Moves head and body into the answer. */
static enum pl_err answer_theirs(struct talk *talk, unsigned status, struct pl_web_answer *out)
{
    struct pl_bytes head = pl_bytes_of(talk->head.data, talk->head.len), rest = head, name, value;
    bool has_body = !talk->ask->is_head && status != 204 && status != 304;
    struct pl_writer w = pl_writer_new();
    begin_head(&w, talk->ask, status);
    while (next_header(&rest, &name, &value)) {
        bool is_length = is_name(name, "content-length") && !has_body && status != 204;
        if (!is_length && (is_of_connection(name) || is_named_in(head, name)))
            continue;
        pl_write_bytes(&w, name);
        pl_write_text(&w, ": ");
        pl_write_bytes(&w, value);
        pl_write_text(&w, "\r\n");
    }
    if (has_body)
        write_length(&w, talk->body.len);
    pl_write_text(&w, "\r\n");
    enum pl_err err = pl_writer_take(&w, &out->head);
    if (!err && has_body && talk->body.len)
        err = pl_writer_take(&talk->body, &out->body);
    return err;
}

enum pl_err pl_proxy_answer(struct pl_proxy *proxy, const struct pl_proxy_ask *ask,
    struct pl_web_answer *out, struct pl_diag *why)
{
    char error[CURL_ERROR_SIZE] = "";
    struct talk talk = {
        .proxy = proxy, .ask = ask, .head = pl_writer_new(), .body = pl_writer_new()};
    struct curl_slist *lines = list_of(ask);
    struct idle *handle = lines ? take_handle(proxy) : NULL;
    long status = 0;
    *out = (struct pl_web_answer){.fd = -1};
    enum pl_err err = PL_NO_MEMORY;
    if (handle && set_options(handle->curl, &talk, lines, error)) {
        CURLcode code = curl_easy_perform(handle->curl);
        if (!code)
            code = curl_easy_getinfo(handle->curl, CURLINFO_RESPONSE_CODE, &status);
        if (!code && status >= 200 && status <= 599) {
            err = answer_theirs(&talk, (unsigned)status, out);
        } else if (code == CURLE_ABORTED_BY_CALLBACK) {
            err = PL_CLOSED;
        } else if (talk.head.err || talk.body.err || code == CURLE_OUT_OF_MEMORY) {
            err = PL_NO_MEMORY;
        } else {
            pl_diag_set(why, (int)code, "%s",
                talk.is_too_large ? "the answer is too large"
                : error[0]        ? error
                                  : "no answer that can be handed on");
            err = answer_own(ask, code == CURLE_OPERATION_TIMEDOUT ? 504 : 502, out);
        }
    }
    if (handle)
        give_back(proxy, handle);
    curl_slist_free_all(lines);
    pl_shared_unref(talk.head.spill);
    pl_shared_unref(talk.body.spill);
    if (err)
        pl_web_answer_done(out);
    return err;
}
