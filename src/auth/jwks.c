#include "auth/jwks.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/text.h"

enum {
    SET_MAX = 256 << 10, /* bytes */
    FETCH_MS = 10000,
    RETRY_MS = 1000,
    RETRY_MAX_MS = 60000,
    STACK_SIZE = 512 << 10,
};

struct pl_jwks_source {
    struct pl_jwks *jwks;
    struct pl_jwks_source *next, **at; /* all below is guarded by the lock */
    uint32_t refs;
    uint32_t failures; /* since the last good one */
    struct pl_jwt_keys *keys;
    uint64_t due_ms, tried_ms;
    bool is_wanted;       /* somebody waits for it */
    bool is_fetching;     /* … as the thread does now */
    const char *url, *ca; /* constant, behind the struct; ca may be NULL */
    char text[];
};

struct pl_jwks {
    struct pl_jwks_options options;
    pthread_mutex_t lock; /* guards what follows, and the sources */
    pthread_cond_t changed;
    struct pl_jwks_source *sources;
    struct pl_pool_job *waiting, **waiting_end;
    uint32_t waiting_count;
    bool may_start, is_started;
    atomic_bool is_ending;
    pthread_t thread;
};

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct pl_jwks *pl_jwks_new(const struct pl_jwks_options *options)
{
    pthread_condattr_t attr;
    struct pl_jwks *jwks = pl_zalloc(sizeof(*jwks));
    if (!jwks)
        return NULL;
    jwks->options = *options;
    jwks->waiting_end = &jwks->waiting;
    pthread_mutex_init(&jwks->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&jwks->changed, &attr);
    pthread_condattr_destroy(&attr);
    return jwks;
}

struct pl_jwks *pl_jwks_free(struct pl_jwks *jwks)
{
    if (!jwks)
        return NULL;
    pl_jwks_end(jwks);
    PL_ASSERT(!jwks->sources); /* the thread had one, too */
    pthread_cond_destroy(&jwks->changed);
    pthread_mutex_destroy(&jwks->lock);
    pl_free(jwks);
    return NULL;
}

/* ---- Sources ---- */

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct pl_jwks_source *new_source(struct pl_jwks *jwks, const char *url, const char *ca)
{
    size_t url_len = strlen(url) + 1, ca_len = ca ? strlen(ca) + 1 : 0;
    struct pl_jwks_source *source = pl_zalloc(sizeof(*source) + url_len + ca_len);
    if (!source)
        return NULL;
    memcpy(source->text, url, url_len);
    source->url = source->text;
    if (ca) {
        memcpy(source->text + url_len, ca, ca_len);
        source->ca = source->text + url_len;
    }
    source->jwks = jwks;
    source->next = jwks->sources;
    if (source->next)
        source->next->at = &source->next;
    source->at = &jwks->sources;
    jwks->sources = source;
    pthread_cond_signal(&jwks->changed);
    return source;
}

struct pl_jwks_source *pl_jwks_source_unref(struct pl_jwks_source *source)
{
    if (!source)
        return NULL;
    struct pl_jwks *jwks = source->jwks;
    pthread_mutex_lock(&jwks->lock);
    bool is_last = --source->refs == 0;
    if (is_last) {
        *source->at = source->next;
        if (source->next)
            source->next->at = source->at;
    }
    pthread_mutex_unlock(&jwks->lock);
    if (is_last) {
        pl_jwt_keys_unref(source->keys);
        pl_free(source);
    }
    return NULL;
}

struct pl_jwt_keys *pl_jwks_source_keys(struct pl_jwks_source *source)
{
    pthread_mutex_lock(&source->jwks->lock);
    struct pl_jwt_keys *keys = pl_jwt_keys_ref(source->keys);
    pthread_mutex_unlock(&source->jwks->lock);
    return keys;
}

/* Whether fetching it anew may bring something. */
static bool may_want(const struct pl_jwks_source *source, uint64_t now_ms)
{
    if (!source->keys)
        return now_ms >= source->due_ms;
    return now_ms - source->tried_ms >= source->jwks->options.refresh_min_ms;
}

enum pl_err pl_jwks_wait(struct pl_jwks *jwks, struct pl_pool_job *job)
{
    uint64_t now_ms = clock_ms();
    enum pl_err err = PL_NOT_FOUND;
    pthread_mutex_lock(&jwks->lock);
    bool is_running = jwks->is_started && !atomic_load(&jwks->is_ending);
    for (struct pl_jwks_source *s = jwks->sources; s && is_running; s = s->next) {
        if (!s->is_wanted && !s->is_fetching)
            s->is_wanted = may_want(s, now_ms);
        if (s->is_wanted || s->is_fetching)
            err = PL_OK;
    }
    if (!err && jwks->waiting_count >= jwks->options.waiting_max)
        err = PL_LIMIT;
    if (!err) {
        job->next = NULL;
        *jwks->waiting_end = job;
        jwks->waiting_end = &job->next;
        jwks->waiting_count++;
    }
    pthread_cond_signal(&jwks->changed);
    pthread_mutex_unlock(&jwks->lock);
    return err;
}

static struct pl_pool_job *take_waiting(struct pl_jwks *jwks)
{
    struct pl_pool_job *jobs = jwks->waiting;
    jwks->waiting = NULL;
    jwks->waiting_end = &jwks->waiting;
    jwks->waiting_count = 0;
    return jobs;
}

/* ---- One request ---- */

struct answer {
    struct pl_jwks *jwks;
    char *body; /* SET_MAX bytes */
    size_t len;
    bool is_too_large;
};

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (strncmp(host, "127.", 4) == 0 && !host[strspn(host, "0123456789.")]);
}

/* False: no address that may be fetched. */
static bool read_url(const char *url, bool *out_is_loopback)
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL, *user = NULL;
    bool is_fine = parts && !curl_url_set(parts, CURLUPART_URL, url, 0) &&
                   !curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) &&
                   !curl_url_get(parts, CURLUPART_HOST, &host, 0) &&
                   curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_NO_USER;
    *out_is_loopback = is_fine && is_loopback(host);
    is_fine = is_fine &&
              (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && *out_is_loopback));
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(parts);
    return is_fine;
}

bool pl_jwks_url_is_fine(const char *url)
{
    bool is_local;
    return read_url(url, &is_local);
}

static size_t on_body(char *bytes, size_t one, size_t len, void *context)
{
    struct answer *answer = context;
    (void)one; /* always 1 */
    answer->is_too_large |= len > SET_MAX - answer->len;
    if (answer->is_too_large)
        return 0;
    memcpy(answer->body + answer->len, bytes, len);
    answer->len += len;
    return len;
}

/* Not 0: the request ends. */
static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct answer *answer = context;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&answer->jwks->is_ending);
}

static CURLcode ask(
    CURL *easy, const struct pl_jwks_source *source, struct answer *answer, char *why, long *status)
{
    bool is_local = false;
    CURLcode code = read_url(source->url, &is_local) ? CURLE_OK : CURLE_URL_MALFORMAT;
#define SET(option, value) code = code ? code : curl_easy_setopt(easy, (option), (value))
    SET(CURLOPT_URL, source->url);
    SET(CURLOPT_PROTOCOLS_STR, is_local ? "http,https" : "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_TIMEOUT_MS, (long)FETCH_MS);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* a name server that does not answer is not waited for */
    SET(CURLOPT_USERAGENT, "parley/" PARLEY_VERSION);
    SET(CURLOPT_ERRORBUFFER, why);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, answer);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, answer);
    if (is_local)
        SET(CURLOPT_NOPROXY, "*");
    if (source->ca)
        SET(CURLOPT_CAINFO, source->ca);
#undef SET
    if (!code)
        code = curl_easy_perform(easy);
    if (!code)
        code = curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status);
    return code;
}

static enum pl_err fetch(struct pl_jwks *jwks, const struct pl_jwks_source *source,
    struct pl_diag *diag, struct pl_jwt_keys **out)
{
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    struct answer answer = {.jwks = jwks, .body = pl_alloc(SET_MAX)};
    CURL *easy = answer.body ? curl_easy_init() : NULL;
    enum pl_err err = PL_NO_MEMORY;
    pl_diag_set(diag, 0, "%s", pl_err_text(err));
    if (!easy)
        goto end;
    CURLcode code = ask(easy, source, &answer, why, &status);
    if (answer.is_too_large) {
        err = PL_TOO_LARGE;
        pl_diag_set(diag, 0, "the set is over 256 KiB");
    } else if (code) {
        err = PL_IO;
        pl_diag_set(diag, (int)code, "%s", why[0] ? why : curl_easy_strerror(code));
    } else if (status != 200) {
        err = PL_IO;
        pl_diag_set(diag, (int)status, "the answer's status is %ld", status);
    } else {
        err = pl_jwt_keys_of_set(source->url, pl_bytes_of(answer.body, answer.len), diag, out);
    }
    curl_easy_cleanup(easy);
end:
    pl_free(answer.body);
    return err;
}

/* ---- The thread ---- */

/* The source that is to be fetched now; *out_due_ms: when the next one is. */
static struct pl_jwks_source *next_due(
    const struct pl_jwks *jwks, uint64_t now_ms, uint64_t *out_due_ms)
{
    *out_due_ms = UINT64_MAX;
    for (struct pl_jwks_source *s = jwks->sources; s; s = s->next) {
        if (s->is_wanted || s->due_ms <= now_ms)
            return s;
        if (s->due_ms < *out_due_ms)
            *out_due_ms = s->due_ms;
    }
    return NULL;
}

static void wait_until(struct pl_jwks *jwks, uint64_t due_ms)
{
    struct timespec at = {
        .tv_sec = (time_t)(due_ms / 1000), .tv_nsec = (long)(due_ms % 1000) * 1000000};
    if (due_ms == UINT64_MAX)
        pthread_cond_wait(&jwks->changed, &jwks->lock);
    else
        pthread_cond_timedwait(&jwks->changed, &jwks->lock, &at);
}

static bool has_lost(const struct pl_jwt_keys *before, const struct pl_jwt_keys *now)
{
    for (size_t i = 0; i < pl_jwt_keys_count(before); i++) {
        if (!pl_jwt_keys_have(now, pl_bytes_text(pl_jwt_keys_fingerprint(before, i))))
            return true;
    }
    return false;
}

/* Under the lock. Returns the set that is no longer needed. */
static struct pl_jwt_keys *settle(
    struct pl_jwks_source *source, enum pl_err err, struct pl_jwt_keys *fresh)
{
    struct pl_jwt_keys *old = NULL;
    uint64_t wait_ms = source->jwks->options.refresh_ms;
    source->is_fetching = false;
    if (err) {
        uint64_t retry_ms = (uint64_t)RETRY_MS << (source->failures < 6 ? source->failures : 6);
        retry_ms = retry_ms < RETRY_MAX_MS ? retry_ms : RETRY_MAX_MS;
        source->failures++;
        wait_ms = wait_ms < retry_ms ? wait_ms : retry_ms;
    } else {
        source->failures = 0;
        old = source->keys;
        source->keys = fresh;
    }
    source->due_ms = clock_ms() + wait_ms;
    return old;
}

static void run_jobs(struct pl_pool_job *jobs)
{
    while (jobs) {
        struct pl_pool_job *next = jobs->next;
        jobs->run(jobs);
        jobs = next;
    }
}

/* Without the lock; source has a reference of ours. */
static void fetch_and_tell(struct pl_jwks *jwks, struct pl_jwks_source *source)
{
    struct pl_diag diag = {{0}, 0};
    struct pl_jwt_keys *fresh = NULL;
    enum pl_err err = fetch(jwks, source, &diag, &fresh);
    struct pl_jwks_event event = {
        .url = source->url, .err = err, .why = diag.text, .key_count = pl_jwt_keys_count(fresh)};
    pthread_mutex_lock(&jwks->lock);
    struct pl_jwt_keys *old = settle(source, err, fresh);
    event.has_lost = !err && has_lost(old, fresh);
    bool is_last = true;
    for (const struct pl_jwks_source *s = jwks->sources; s; s = s->next)
        is_last &= !s->is_wanted;
    struct pl_pool_job *jobs = is_last ? take_waiting(jwks) : NULL;
    pthread_mutex_unlock(&jwks->lock);
    pl_jwt_keys_unref(old);
    run_jobs(jobs);
    if (jwks->options.on_event && !atomic_load(&jwks->is_ending))
        jwks->options.on_event(jwks->options.context, &event);
    pl_jwks_source_unref(source);
}

static void *work(void *context)
{
    struct pl_jwks *jwks = context;
    pthread_mutex_lock(&jwks->lock);
    while (!atomic_load(&jwks->is_ending)) {
        uint64_t due_ms, now_ms = clock_ms();
        struct pl_jwks_source *source = next_due(jwks, now_ms, &due_ms);
        if (!source) {
            wait_until(jwks, due_ms);
            continue;
        }
        source->refs++;
        source->is_wanted = false;
        source->is_fetching = true;
        source->tried_ms = now_ms;
        pthread_mutex_unlock(&jwks->lock);
        fetch_and_tell(jwks, source);
        pthread_mutex_lock(&jwks->lock);
    }
    pthread_mutex_unlock(&jwks->lock);
    return NULL;
}

/* Under the lock; where there is something to fetch. Signals are for the main thread. */
static enum pl_err start_thread(struct pl_jwks *jwks)
{
    sigset_t all, before;
    pthread_attr_t attr;
    if (jwks->is_started || !jwks->may_start || !jwks->sources)
        return PL_OK;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    jwks->is_started = pthread_create(&jwks->thread, &attr, work, jwks) == 0;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return jwks->is_started ? PL_OK : PL_LIMIT;
}

enum pl_err pl_jwks_start(struct pl_jwks *jwks)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return PL_NO_MEMORY;
    pthread_mutex_lock(&jwks->lock);
    jwks->may_start = true;
    enum pl_err err = start_thread(jwks);
    pthread_mutex_unlock(&jwks->lock);
    return err;
}

enum pl_err pl_jwks_source_hold(
    struct pl_jwks *jwks, const char *url, const char *ca, struct pl_jwks_source **out)
{
    pthread_mutex_lock(&jwks->lock);
    struct pl_jwks_source *source = jwks->sources;
    while (source && !(is_same(source->url, url) && is_same(source->ca, ca)))
        source = source->next;
    if (!source)
        source = new_source(jwks, url, ca);
    if (source)
        source->refs++;
    enum pl_err err = source ? start_thread(jwks) : PL_NO_MEMORY;
    pthread_mutex_unlock(&jwks->lock);
    *out = source;
    if (err == PL_LIMIT)
        *out = pl_jwks_source_unref(source);
    return err;
}

void pl_jwks_end(struct pl_jwks *jwks)
{
    if (!jwks)
        return;
    pthread_mutex_lock(&jwks->lock);
    atomic_store(&jwks->is_ending, true);
    bool is_started = jwks->is_started;
    jwks->is_started = jwks->may_start = false;
    pthread_cond_broadcast(&jwks->changed);
    pthread_mutex_unlock(&jwks->lock);
    if (is_started)
        pthread_join(jwks->thread, NULL);
    pthread_mutex_lock(&jwks->lock);
    struct pl_pool_job *jobs = take_waiting(jwks);
    pthread_mutex_unlock(&jwks->lock);
    while (jobs) {
        struct pl_pool_job *next = jobs->next;
        jobs->drop(jobs);
        jobs = next;
    }
}
