#include "web/site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/output.h"
#include "codec/http.h"
#include "web/beneath.h"
#include "web/cache.h"
#include "web/compress.h"
#include "web/mime.h"

enum {
    COMPRESS_MIN = 512, /* below that a head is longer than what is won */
    WHOLE_MAX = 2 * PL_WEB_PIECE,
};

struct pl_site {
    struct pl_site_options options;
    int root;
    struct pl_web_cache *cache; /* owned; NULL: nothing is compressed */
};

enum pl_err pl_site_new(
    const struct pl_site_options *options, struct pl_site **out, struct pl_diag *diag)
{
    struct pl_site *site = pl_zalloc(sizeof *site);
    if (!site)
        return PL_NO_MEMORY;
    site->options = *options;
    if (options->cache_bytes && !(site->cache = pl_web_cache_new(options->cache_bytes))) {
        pl_free(site);
        return PL_NO_MEMORY;
    }
    site->root = open(options->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (site->root < 0) {
        pl_diag_set(diag, errno, "web.root: %s: %s", options->root, strerror(errno));
        pl_site_free(site);
        return PL_IO;
    }
    *out = site;
    return PL_OK;
}

struct pl_site *pl_site_free(struct pl_site *site)
{
    if (!site)
        return NULL;
    if (site->root >= 0)
        close(site->root);
    pl_web_cache_free(site->cache);
    pl_free(site);
    return NULL;
}

size_t pl_site_cache_bytes(const struct pl_site *site)
{
    return site->cache ? pl_web_cache_bytes(site->cache) : 0;
}

/* ---- What is asked for ---- */

enum pl_err pl_web_ask_make(const char *domain, const struct pl_http_request *request,
    bool shows_hidden, struct pl_arena *arena, struct pl_web_ask *out)
{
    *out = (struct pl_web_ask){
        .domain = domain,
        .is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD")),
        .keeps_alive = request->keeps_alive,
        .is_old = request->minor == 0,
    };
    out->has_path = pl_web_path_parse(request->path, shows_hidden, &out->path) == PL_OK;
    pl_web_accept_begin(&out->accept);
    for (uint32_t i = 0; i < request->header_count; i++) {
        if (pl_bytes_equal_nocase(request->headers[i].name, PL_BYTES("accept-encoding")))
            pl_web_accept_add(&out->accept, request->headers[i].value);
    }
    struct {
        const char *name;
        struct pl_bytes *at;
    } const kept[] = {
        {"if-match", &out->conditions.if_match},
        {"if-none-match", &out->conditions.if_none_match},
        {"if-modified-since", &out->conditions.if_modified_since},
        {"if-unmodified-since", &out->conditions.if_unmodified_since},
        {"range", &out->conditions.range},
        {"if-range", &out->conditions.if_range},
        {NULL, &out->query},
    };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct pl_bytes value =
            kept[i].name ? pl_http_header(request, kept[i].name) : request->query;
        if (!value.data)
            continue;
        char *copy = pl_arena_copy(arena, value);
        if (!copy)
            return PL_NO_MEMORY;
        *kept[i].at = pl_bytes_of(copy, value.len);
    }
    return PL_OK;
}

/* ---- Heads ---- */

static void write_line(struct pl_writer *w, const char *name, const char *value)
{
    pl_write_text(w, name);
    pl_write_text(w, ": ");
    pl_write_text(w, value);
    pl_write_text(w, "\r\n");
}

static void write_number(struct pl_writer *w, const char *before, uint64_t number)
{
    pl_write_text(w, before);
    pl_write_decimal(w, number);
    pl_write_text(w, "\r\n");
}

/* What every answer begins with. */
static struct pl_writer head_begin(
    const struct pl_site *site, const struct pl_web_ask *ask, unsigned status)
{
    struct pl_writer w = pl_writer_new();
    char date[PL_WEB_DATE_LEN + 1];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    pl_web_date_format(now.tv_sec, date);
    pl_write_text(&w, "HTTP/1.1 ");
    pl_write_decimal(&w, status);
    pl_write_text(&w, " ");
    pl_write_text(&w, pl_http_reason(status));
    pl_write_text(&w, "\r\n");
    write_line(&w, "Date", date);
    write_line(&w, "X-Content-Type-Options", "nosniff");
    if (ask->is_tls && site->options.hsts_ms)
        write_number(&w, "Strict-Transport-Security: max-age=", site->options.hsts_ms / 1000);
    if (!ask->keeps_alive)
        write_line(&w, "Connection", "close");
    else if (ask->is_old)
        write_line(&w, "Connection", "keep-alive");
    return w;
}

static enum pl_err head_end(struct pl_writer *w, struct pl_web_answer *out)
{
    pl_write_text(w, "\r\n");
    return pl_writer_take(w, &out->head);
}

/* An answer of a few words. */
static enum pl_err answer_plain(const struct pl_site *site, const struct pl_web_ask *ask,
    unsigned status, struct pl_web_answer *out)
{
    const char *reason = pl_http_reason(status);
    struct pl_writer w = head_begin(site, ask, status);
    write_line(&w, "Content-Type", "text/plain; charset=utf-8");
    write_number(&w, "Content-Length: ", strlen(reason) + 1);
    if (status == 503)
        write_line(&w, "Retry-After", "1");
    pl_write_text(&w, "\r\n");
    if (!ask->is_head) {
        pl_write_text(&w, reason);
        pl_write_text(&w, "\n");
    }
    return pl_writer_take(&w, &out->head);
}

/* ---- Files ---- */

struct file {
    int fd;
    struct pl_web_stamp stamp;
};

static void file_done(struct file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* A regular file to be read. PL_EXISTS: it is a folder. */
static enum pl_err file_open(int folder, const char *name, uint64_t size_max, struct file *out)
{
    struct stat about;
    int fd;
    /* Without waiting: it may be a FIFO. */
    enum pl_err err = pl_web_open_beneath(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, &fd);
    if (err)
        return err;
    err = fstat(fd, &about) != 0               ? PL_IO
          : S_ISDIR(about.st_mode)             ? PL_EXISTS
          : !S_ISREG(about.st_mode)            ? PL_NOT_FOUND
          : (uint64_t)about.st_size > size_max ? PL_NOT_FOUND
                                               : PL_OK;
    if (err) {
        close(fd);
        return err;
    }
    out->fd = fd;
    out->stamp = (struct pl_web_stamp){
        .modified_ns = (int64_t)about.st_mtim.tv_sec * 1000000000 + about.st_mtim.tv_nsec,
        .size = (uint64_t)about.st_size,
    };
    return PL_OK;
}

/* Bytes from..from+len of the file. */
static enum pl_err read_at(int fd, uint64_t from, size_t len, struct pl_shared **out)
{
    struct pl_shared *piece = pl_shared_new(len ? len : 1);
    if (!piece)
        return PL_NO_MEMORY;
    while (piece->len < len) {
        ssize_t n = pread(fd, piece->data + piece->len, len - piece->len, (off_t)from + piece->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            pl_shared_unref(piece);
            return PL_IO;
        }
        piece->len += (uint32_t)n;
    }
    *out = piece;
    return PL_OK;
}

/* ---- The form that is sent ---- */

struct form {
    enum pl_web_encoding encoding;
    struct file file;       /* what is sent; fd -1: body is */
    struct pl_shared *body; /* owned; NULL: the file is sent */
    uint64_t size;
    char etag[PL_WEB_ETAG_MAX];
};

static void form_done(struct form *form)
{
    file_done(&form->file);
    form->body = pl_shared_unref(form->body);
}

static void set_etag(struct form *form, struct pl_web_stamp of, const struct pl_web_stamp *beside)
{
    const char *name = pl_web_encoding_name(form->encoding);
    int len = snprintf(form->etag, sizeof form->etag, "\"%llx-%llx%s%s",
        (unsigned long long)of.modified_ns, (unsigned long long)of.size, name[0] ? "-" : "", name);
    if (beside)
        len += snprintf(form->etag + len, sizeof form->etag - (size_t)len, "-%llx-%llx",
            (unsigned long long)beside->modified_ns, (unsigned long long)beside->size);
    snprintf(form->etag + len, sizeof form->etag - (size_t)len, "\"");
}

/* A file that was compressed beforehand, and not before the original was changed. */
static bool find_beside(int folder, const char *name, enum pl_web_encoding encoding,
    struct file *file, struct form *form)
{
    char beside[PL_WEB_PATH_MAX + 24];
    struct file found;
    snprintf(beside, sizeof beside, "%s%s", name, pl_web_encoding_suffix(encoding));
    if (file_open(folder, beside, UINT64_MAX, &found) != PL_OK)
        return false;
    if (found.stamp.modified_ns < file->stamp.modified_ns) {
        file_done(&found);
        return false;
    }
    form->encoding = encoding;
    form->file = found;
    form->size = found.stamp.size;
    set_etag(form, file->stamp, &found.stamp);
    return true;
}

static enum pl_err compress_file(const struct pl_site *site, struct pl_bytes key,
    enum pl_web_encoding encoding, const struct file *file, struct pl_shared **out)
{
    struct pl_shared *plain = NULL, *body = NULL;
    enum pl_err err = read_at(file->fd, 0, (size_t)file->stamp.size, &plain);
    if (!err)
        err = pl_web_compress(encoding, pl_bytes_of(plain->data, plain->len), &body);
    pl_shared_unref(plain);
    pl_web_cache_put(site->cache, key, encoding, file->stamp, body, err == PL_UNSUPPORTED);
    *out = body;
    return err;
}

/* The body that the cache has, or that is made for it. */
static bool find_made(const struct pl_site *site, const char *domain, const char *name,
    enum pl_web_encoding encoding, const struct file *file, struct form *form)
{
    char key[PL_WEB_CACHE_NAME_MAX];
    int len = snprintf(key, sizeof key, "%s/%s", domain, name);
    struct pl_bytes whole = pl_bytes_of(key, (size_t)len);
    if (len < 0 || (size_t)len >= sizeof key)
        return false;
    enum pl_err err = pl_web_cache_find(site->cache, whole, encoding, file->stamp, &form->body);
    if (err == PL_NOT_FOUND)
        err = compress_file(site, whole, encoding, file, &form->body);
    if (err || !form->body)
        return false;
    form->encoding = encoding;
    form->size = form->body->len;
    set_etag(form, file->stamp, NULL);
    return true;
}

/* file: moved into the form. A part of a file is of the plain one. */
static void choose_form(const struct pl_site *site, const struct pl_web_ask *ask, int folder,
    const char *name, bool is_text, struct file *file, struct form *form)
{
    bool may_make = site->cache && file->stamp.size >= COMPRESS_MIN &&
                    file->stamp.size <= site->options.compress_max;
    bool is_part = ask->conditions.range.data && !ask->is_head;
    enum pl_web_encoding encoding;
    *form = (struct form){.file = {.fd = -1}};
    for (unsigned i = 0; is_text && !is_part; i++) {
        encoding = pl_web_accept_choice(&ask->accept, i);
        if (encoding == PL_WEB_IDENTITY)
            break;
        if (find_beside(folder, name, encoding, file, form) ||
            (may_make && find_made(site, ask->domain, name, encoding, file, form))) {
            file_done(file);
            return;
        }
    }
    form->file = *file;
    form->size = file->stamp.size;
    set_etag(form, file->stamp, NULL);
    file->fd = -1;
}

/* ---- Answers ---- */

static void write_about(struct pl_writer *w, const struct pl_site *site, const struct form *form,
    const char *modified, const struct pl_web_mime *mime)
{
    write_line(w, "ETag", form->etag);
    write_line(w, "Last-Modified", modified);
    if (site->options.max_age_ms)
        write_number(w, "Cache-Control: public, max-age=", site->options.max_age_ms / 1000);
    else
        write_line(w, "Cache-Control", "no-cache");
    if (mime->traits & PL_WEB_TEXT)
        write_line(w, "Vary", "Accept-Encoding");
    if (mime->traits & PL_WEB_FOR_ALL)
        write_line(w, "Access-Control-Allow-Origin", "*");
}

/* Body or pieces of the form: len bytes of it. */
static enum pl_err give_body(
    struct form *form, uint64_t from, uint64_t len, struct pl_web_answer *out)
{
    if (form->body) {
        out->body = form->body;
        form->body = NULL;
        return PL_OK;
    }
    size_t first = len <= WHOLE_MAX ? (size_t)len : PL_WEB_PIECE;
    enum pl_err err = first ? read_at(form->file.fd, from, first, &out->body) : PL_OK;
    if (!err && first < len) {
        out->fd = form->file.fd;
        out->at = from + first;
        out->left = len - first;
        form->file.fd = -1;
    }
    return err;
}

static enum pl_err answer_form(const struct pl_site *site, const struct pl_web_ask *ask,
    const struct pl_web_mime *mime, int64_t modified_s, struct form *form,
    struct pl_web_answer *out)
{
    struct pl_bytes etag = pl_bytes_text(form->etag);
    char modified[PL_WEB_DATE_LEN + 1];
    uint64_t from = 0, len = form->size;
    unsigned status = 200;
    pl_web_date_format(modified_s, modified);
    enum pl_err err = pl_web_condition_check(&ask->conditions, etag, modified_s);
    if (err == PL_DENIED)
        return answer_plain(site, ask, 412, out);
    if (err == PL_EXISTS) {
        struct pl_writer not_modified = head_begin(site, ask, 304);
        write_about(&not_modified, site, form, modified, mime);
        return head_end(&not_modified, out);
    }
    err = ask->is_head
              ? PL_NOT_FOUND
              : pl_web_range_choose(&ask->conditions, etag, modified_s, form->size, &from, &len);
    if (err == PL_OK)
        status = 206;
    else if (err == PL_LIMIT)
        status = 416;
    if (status == 416)
        len = 0;
    struct pl_writer w = head_begin(site, ask, status);
    write_about(&w, site, form, modified, mime);
    write_line(&w, "Accept-Ranges", "bytes");
    write_line(&w, "Content-Type", mime->type);
    if (mime->traits & PL_WEB_GZIPPED)
        write_line(&w, "Content-Encoding", "gzip");
    else if (form->encoding != PL_WEB_IDENTITY)
        write_line(&w, "Content-Encoding", pl_web_encoding_name(form->encoding));
    if (status != 200) {
        char range[80];
        if (status == 416)
            snprintf(range, sizeof range, "bytes */%llu", (unsigned long long)form->size);
        else
            snprintf(range, sizeof range, "bytes %llu-%llu/%llu", (unsigned long long)from,
                (unsigned long long)(from + len - 1), (unsigned long long)form->size);
        write_line(&w, "Content-Range", range);
    }
    write_number(&w, "Content-Length: ", len);
    err = head_end(&w, out);
    return err || ask->is_head || !len ? err : give_body(form, from, len, out);
}

/* The domain's own page, or a few words. */
static enum pl_err answer_missing(
    const struct pl_site *site, const struct pl_web_ask *ask, int folder, struct pl_web_answer *out)
{
    static const char name[] = "404.html";
    struct file page;
    if (folder < 0 || file_open(folder, name, WHOLE_MAX, &page) != PL_OK)
        return answer_plain(site, ask, 404, out);
    struct pl_writer w = head_begin(site, ask, 404);
    write_line(&w, "Content-Type", pl_web_mime_find(pl_bytes_text(name))->type);
    write_line(&w, "Cache-Control", "no-cache");
    write_number(&w, "Content-Length: ", page.stamp.size);
    enum pl_err err = head_end(&w, out);
    if (!err && !ask->is_head && page.stamp.size)
        err = read_at(page.fd, 0, (size_t)page.stamp.size, &out->body);
    file_done(&page);
    return err;
}

/* /docs is a folder: /docs/ is its page. */
static enum pl_err answer_slash(
    const struct pl_site *site, const struct pl_web_ask *ask, struct pl_web_answer *out)
{
    char escaped[3 * PL_WEB_PATH_MAX];
    enum pl_err err =
        pl_web_path_escape(pl_bytes_of(ask->path.text, ask->path.len), escaped, sizeof escaped);
    if (err)
        return answer_plain(site, ask, 404, out);
    struct pl_writer w = head_begin(site, ask, 301);
    pl_write_text(&w, "Location: /");
    pl_write_text(&w, escaped);
    pl_write_text(&w, "/");
    if (ask->query.len) {
        pl_write_text(&w, "?");
        pl_write_bytes(&w, ask->query);
    }
    pl_write_text(&w, "\r\nContent-Length: 0\r\n");
    return head_end(&w, out);
}

static enum pl_err answer_in(
    struct pl_site *site, const struct pl_web_ask *ask, int folder, struct pl_web_answer *out)
{
    static const char index[] = "index.html";
    const struct pl_web_path *path = &ask->path;
    char name[PL_WEB_PATH_MAX + sizeof index];
    struct file file;
    snprintf(name, sizeof name, "%s%s%s", path->text, path->is_folder && path->len ? "/" : "",
        path->is_folder ? index : "");
    enum pl_err err = file_open(folder, name, site->options.file_max, &file);
    if (err == PL_EXISTS && !path->is_folder)
        return answer_slash(site, ask, out);
    if (err == PL_NOT_FOUND || err == PL_EXISTS)
        return answer_missing(site, ask, folder, out);
    if (err)
        return answer_plain(site, ask, err == PL_LIMIT ? 503 : 500, out);
    const struct pl_web_mime *mime = pl_web_mime_find(pl_bytes_text(name));
    int64_t modified_s = file.stamp.modified_ns / 1000000000;
    struct form form;
    choose_form(site, ask, folder, name, mime->traits & PL_WEB_TEXT, &file, &form);
    err = answer_form(site, ask, mime, modified_s, &form, out);
    form_done(&form);
    return err;
}

enum pl_err pl_site_answer(
    struct pl_site *site, const struct pl_web_ask *ask, struct pl_web_answer *out)
{
    *out = (struct pl_web_answer){.fd = -1};
    int folder;
    enum pl_err err = pl_web_open_beneath(site->root, ask->domain, O_PATH | O_DIRECTORY, &folder);
    if (err) {
        err = answer_plain(site, ask, err == PL_LIMIT ? 503 : 404, out);
    } else {
        err = ask->has_path ? answer_in(site, ask, folder, out)
                            : answer_missing(site, ask, folder, out);
        close(folder);
    }
    if (err == PL_IO) {
        pl_web_answer_done(out);
        err = answer_plain(site, ask, 500, out);
    }
    if (err)
        pl_web_answer_done(out);
    return err;
}

enum pl_err pl_web_answer_read(struct pl_web_answer *answer, struct pl_shared **out)
{
    size_t len = answer->left < PL_WEB_PIECE ? (size_t)answer->left : PL_WEB_PIECE;
    enum pl_err err = read_at(answer->fd, answer->at, len, out);
    if (err)
        return err;
    answer->at += len;
    answer->left -= len;
    if (!answer->left) {
        close(answer->fd);
        answer->fd = -1;
    }
    return PL_OK;
}

void pl_web_answer_done(struct pl_web_answer *answer)
{
    answer->head = pl_shared_unref(answer->head);
    answer->body = pl_shared_unref(answer->body);
    if (answer->fd >= 0)
        close(answer->fd);
    answer->fd = -1;
}
