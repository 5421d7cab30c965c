#include "acme/https.h"

#include <curl/curl.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "net/reactor.h"

enum { HEADERS_MAX = 64 << 10, POLL_MS = 1000, RETRY_MAX_S = 7 * 86400 };

struct pl_acme_https {
    pthread_mutex_t lock; /* guards which multi it is, for who stops it */
    CURLM *multi;
    CURL *easy;
    atomic_bool is_stopping;
    size_t answer_max;
    uint64_t timeout_ms;
    uint8_t *body; /* owned; answer_max bytes */
    size_t body_len, head_len;
    bool is_too_large;
    char error[CURL_ERROR_SIZE];
};

static size_t on_body(char *bytes, size_t one, size_t len, void *context)
{
    struct pl_acme_https *https = context;
    (void)one; /* always 1 */
    if (len > https->answer_max - https->body_len) {
        https->is_too_large = true;
        return 0;
    }
    memcpy(https->body + https->body_len, bytes, len);
    https->body_len += len;
    return len;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): curl's type */
static size_t on_header(char *bytes, size_t one, size_t len, void *context)
{
    struct pl_acme_https *https = context;
    (void)one;
    (void)bytes;
    https->head_len += len;
    https->is_too_large |= https->head_len > HEADERS_MAX;
    return https->is_too_large ? 0 : len;
}

static bool set_options(struct pl_acme_https *https, const struct pl_acme_https_options *options)
{
    CURL *easy = https->easy;
    CURLcode code = CURLE_OK;
#define SET(option, value) code = code ? code : curl_easy_setopt(easy, (option), (value))
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* a name server that does not answer is not waited for */
    SET(CURLOPT_USERAGENT, options->user_agent);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, https);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, https);
    SET(CURLOPT_ERRORBUFFER, https->error);
    if (options->ca_file)
        SET(CURLOPT_CAINFO, options->ca_file);
#undef SET
    return code == CURLE_OK;
}

struct pl_acme_https *pl_acme_https_new(const struct pl_acme_https_options *options)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return NULL;
    struct pl_acme_https *https = pl_zalloc(sizeof *https);
    if (!https)
        return NULL;
    pthread_mutex_init(&https->lock, NULL);
    https->answer_max = options->answer_max;
    https->timeout_ms = options->timeout_ms;
    https->body = pl_alloc(options->answer_max);
    https->multi = curl_multi_init();
    https->easy = curl_easy_init();
    if (!https->body || !https->multi || !https->easy || !set_options(https, options))
        return pl_acme_https_free(https);
    return https;
}

struct pl_acme_https *pl_acme_https_free(struct pl_acme_https *https)
{
    if (!https)
        return NULL;
    if (https->easy)
        curl_easy_cleanup(https->easy);
    if (https->multi)
        curl_multi_cleanup(https->multi);
    pthread_mutex_destroy(&https->lock);
    pl_free(https->body);
    pl_free(https);
    return NULL;
}

void pl_acme_https_stop(struct pl_acme_https *https)
{
    atomic_store(&https->is_stopping, true);
    pthread_mutex_lock(&https->lock);
    /* It fails where it is not waited, which is seen before the next wait. */
    (void)curl_multi_wakeup(https->multi);
    pthread_mutex_unlock(&https->lock);
}

void pl_acme_https_rest(struct pl_acme_https *https)
{
    CURLM *fresh = curl_multi_init();
    if (!fresh)
        return; /* they end when the authority closes them */
    pthread_mutex_lock(&https->lock);
    CURLM *before = https->multi;
    https->multi = fresh;
    pthread_mutex_unlock(&https->lock);
    curl_multi_cleanup(before);
}

/* Until the request is done or stopped. */
static enum pl_err drive(struct pl_acme_https *https, CURLcode *out)
{
    for (;;) {
        int running = 0, left = 0;
        if (atomic_load(&https->is_stopping))
            return PL_CANCELED;
        if (curl_multi_perform(https->multi, &running))
            return PL_IO;
        for (const CURLMsg *m; (m = curl_multi_info_read(https->multi, &left));) {
            if (m->msg == CURLMSG_DONE) {
                *out = m->data.result;
                return PL_OK;
            }
        }
        if (curl_multi_poll(https->multi, NULL, 0, POLL_MS, NULL))
            return PL_IO;
    }
}

/* A header's value, if it is no longer than there is room. */
static void read_header(CURL *easy, const char *name, char *out, size_t cap)
{
    struct curl_header *header = NULL;
    out[0] = 0;
    if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK &&
        strlen(header->value) < cap)
        memcpy(out, header->value, strlen(header->value) + 1);
}

static void read_answer(struct pl_acme_https *https, struct pl_acme_answer *out)
{
    long status = 0;
    curl_off_t retry_s = 0;
    (void)curl_easy_getinfo(https->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(https->easy, CURLINFO_RETRY_AFTER, &retry_s);
    out->status = (unsigned)status;
    out->body = pl_bytes_of(https->body, https->body_len);
    out->retry_after_ms =
        retry_s > 0 ? (uint64_t)(retry_s < RETRY_MAX_S ? retry_s : RETRY_MAX_S) * 1000 : 0;
    read_header(https->easy, "Replay-Nonce", out->nonce, sizeof out->nonce);
    read_header(https->easy, "Location", out->location, sizeof out->location);
    read_header(https->easy, "Content-Type", out->type, sizeof out->type);
    out->type[strcspn(out->type, "; ")] = 0;
    if (!pl_acme_is_token(pl_bytes_text(out->nonce), PL_ACME_NONCE_MAX))
        out->nonce[0] = 0;
    if (!pl_acme_is_url(pl_bytes_text(out->location)))
        out->location[0] = 0;
}

static enum pl_err explain(
    const struct pl_acme_https *https, const char *url, CURLcode code, struct pl_diag *diag)
{
    pl_diag_set(diag, (int)code, "%s: %s", url,
        https->is_too_large ? "the answer is too large"
        : https->error[0]   ? https->error
                            : curl_easy_strerror(code));
    if (https->is_too_large)
        return PL_TOO_LARGE;
    if (code == CURLE_OUT_OF_MEMORY)
        return PL_NO_MEMORY;
    return code == CURLE_OPERATION_TIMEDOUT ? PL_TIMEOUT : PL_IO;
}

enum pl_err pl_acme_https_ask(struct pl_acme_https *https, const char *url, const char *body,
    const char *accept, uint64_t until_ms, struct pl_acme_answer *out, struct pl_diag *diag)
{
    CURL *easy = https->easy;
    struct curl_slist *headers = NULL, *more;
    char line[128];
    uint64_t now_ms = pl_clock_ms();
    uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 1;
    CURLcode code = CURLE_OK;
    enum pl_err err = PL_OK;
    https->body_len = https->head_len = 0;
    https->is_too_large = false;
    https->error[0] = 0;
    if (left_ms > https->timeout_ms)
        left_ms = https->timeout_ms;
    if (accept) {
        snprintf(line, sizeof line, "Accept: %s", accept);
        headers = curl_slist_append(headers, line);
    }
    if (body && (more = curl_slist_append(headers, "Content-Type: application/jose+json")))
        headers = more;
    code = curl_easy_setopt(easy, CURLOPT_URL, url);
    if (!code)
        code = curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    if (!code)
        code = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    if (!code && body)
        code = curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    if (!code && !body)
        code = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    if (!code && curl_multi_add_handle(https->multi, easy))
        code = CURLE_OUT_OF_MEMORY;
    if (!code) {
        err = drive(https, &code);
        if (!err && !code)
            read_answer(https, out);
        (void)curl_multi_remove_handle(https->multi, easy);
    }
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    return !err && code ? explain(https, url, code, diag) : err;
}
