#include "acme/acme.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "acme/state.h"
#include "acme/x509.h"
#include "base/alloc.h"
#include "net/reactor.h"
#include "net/tls_store.h"

/* Looked at anew after this, whatever was planned: the wall clock may be set, a machine may sleep.
 */
enum { LOOK_MS = 3600000, SOON_MS = 1000 };

/* ---- Options ---- */

static const char *const *copy_texts(
    struct pl_arena *arena, const char *const *texts, size_t count, bool *ok)
{
    const char **copy = pl_arena_alloc(arena, (count + 1) * sizeof *copy);
    *ok &= copy != NULL;
    for (size_t i = 0; i < count && *ok; i++) {
        copy[i] = pl_arena_copy(arena, pl_bytes_text(texts[i]));
        *ok &= copy[i] != NULL;
    }
    return copy;
}

static const char *copy_text(struct pl_arena *arena, const char *text, bool *ok)
{
    const char *copy = text ? pl_arena_copy(arena, pl_bytes_text(text)) : NULL;
    *ok &= !text || copy;
    return copy;
}

static bool copy_options(struct pl_acme *acme, const struct pl_acme_options *from)
{
    struct pl_arena *arena = &acme->arena;
    struct pl_acme_options *options = &acme->options;
    bool ok = true;
    *options = *from;
    options->contacts = copy_texts(arena, from->contacts, from->contact_count, &ok);
    options->folder = copy_text(arena, from->folder, &ok);
    options->directory = copy_text(arena, from->directory, &ok);
    options->ca_file = copy_text(arena, from->ca_file, &ok);
    options->user_agent = copy_text(arena, from->user_agent, &ok);
    options->binding_id = copy_text(arena, from->binding_id, &ok);
    if (from->binding_id) {
        const char *secret = pl_arena_copy(arena, from->binding_secret);
        options->binding_secret = pl_bytes_of(secret, from->binding_secret.len);
        ok &= secret != NULL;
    }
    options->certificates = NULL; /* they are the groups */
    acme->groups = pl_arena_zalloc(arena, (from->certificate_count + 1) * sizeof *acme->groups);
    ok &= acme->groups != NULL;
    for (size_t i = 0; i < from->certificate_count && ok; i++) {
        const struct pl_acme_names *names = &from->certificates[i];
        acme->groups[i].names.domains = copy_texts(arena, names->domains, names->count, &ok);
        acme->groups[i].names.count = names->count;
        pl_acme_cache_name("cached_cert_", names->domains, names->count, from->directory,
            acme->groups[i].cache_name);
    }
    return ok;
}

/* ---- What is shown ---- */

static enum pl_err show(struct pl_acme *acme)
{
    size_t count = 0;
    struct pl_tls_certificate **list =
        pl_alloc((acme->options.certificate_count + 1) * sizeof(struct pl_tls_certificate *));
    if (!list)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < acme->options.certificate_count; i++) {
        if (acme->groups[i].certificate)
            list[count++] = acme->groups[i].certificate;
    }
    enum pl_err err = pl_tls_store_set(acme->options.store, PL_TLS_ACME, list, count);
    pl_free(list);
    return err;
}

/* When it is due: a third of its lifetime is left, or what was configured, but never more than two
 * thirds, or orders would never end. */
static uint64_t renewal_of(const struct pl_acme *acme, const struct pl_tls_certificate *certificate)
{
    uint64_t starts = pl_tls_certificate_starts_unix_ms(certificate);
    uint64_t expires = pl_tls_certificate_expires_unix_ms(certificate);
    uint64_t lifetime = expires > starts ? expires - starts : 0;
    uint64_t left = acme->options.renew_before_ms ? acme->options.renew_before_ms : lifetime / 3;
    if (left > lifetime / 3 * 2)
        left = lifetime / 3 * 2;
    return expires - left;
}

/* certificate: moved. */
static void take(
    struct pl_acme *acme, struct pl_acme_group *group, struct pl_tls_certificate *certificate)
{
    pl_tls_certificate_unref(group->certificate);
    group->certificate = certificate;
    group->renew_unix_ms = renewal_of(acme, certificate);
    group->retry_ms = 0;
    pthread_mutex_lock(&acme->lock);
    group->failures = 0;
    group->expires_unix_ms = pl_tls_certificate_expires_unix_ms(certificate);
    pthread_mutex_unlock(&acme->lock);
}

static void tell(const struct pl_acme *acme, enum pl_acme_event_kind kind,
    const struct pl_acme_group *group, const char *why)
{
    uint64_t now_ms = pl_clock_ms();
    const struct pl_acme_event event = {
        .kind = kind,
        .name = group->names.domains[0],
        .why = why,
        .expires_unix_ms = group->expires_unix_ms,
        .retry_ms = group->retry_ms > now_ms ? group->retry_ms - now_ms : 0,
        .failures = group->failures,
    };
    acme->options.told(acme->options.context, &event);
}

/* ---- The folder ---- */

static enum pl_err load(struct pl_acme *acme, struct pl_acme_group *group)
{
    char *text = NULL;
    size_t len = 0;
    struct pl_diag diag = {{0}, 0};
    struct pl_tls_certificate *certificate = NULL;
    enum pl_err err =
        pl_acme_cache_read(acme->options.folder, group->cache_name, &text, &len, &diag);
    if (!err) {
        struct pl_bytes pem = pl_bytes_of(text, len);
        err = pl_tls_certificate_parse(pem, pem, &certificate, &diag);
        if (!err)
            err = pl_acme_certificate_check(
                certificate, group->names.domains, group->names.count, pl_clock_unix_ms(), &diag);
        memset(text, 0, len);
    }
    pl_free(text);
    if (err) {
        pl_tls_certificate_unref(certificate);
        if (err != PL_NOT_FOUND && err != PL_NO_MEMORY) {
            char why[sizeof diag.text + PL_ACME_CACHE_NAME_MAX + 2];
            snprintf(why, sizeof why, "%s: %s", group->cache_name, diag.text);
            tell(acme, PL_ACME_CACHE_FAILED, group, why);
        }
        return err == PL_NO_MEMORY ? err : PL_OK;
    }
    take(acme, group, certificate);
    tell(acme, PL_ACME_LOADED, group, NULL);
    return PL_OK;
}

/* ---- Ordering ---- */

static void store_new(struct pl_acme *acme, struct pl_acme_group *group, const char *pem)
{
    struct pl_diag diag = {{0}, 0};
    enum pl_err err =
        pl_acme_cache_write(acme->options.folder, group->cache_name, pl_bytes_text(pem), &diag);
    if (err) /* It is shown all the same; the next start orders one again. */
        tell(acme, PL_ACME_CACHE_FAILED, group, diag.text[0] ? diag.text : pl_err_text(err));
}

static void plan_retry(struct pl_acme *acme, struct pl_acme_group *group, uint64_t retry_after_ms)
{
    uint64_t delay_ms = acme->options.backoff_ms;
    for (uint32_t i = 0; i < group->failures && delay_ms < acme->options.backoff_max_ms; i++)
        delay_ms *= 2;
    if (delay_ms > acme->options.backoff_max_ms)
        delay_ms = acme->options.backoff_max_ms;
    if (delay_ms < retry_after_ms)
        delay_ms = retry_after_ms;
    group->retry_ms = pl_clock_ms() + delay_ms;
    pthread_mutex_lock(&acme->lock);
    group->failures++;
    pthread_mutex_unlock(&acme->lock);
}

static void attempt(struct pl_acme *acme, struct pl_acme_group *group)
{
    struct pl_tls_certificate *certificate = NULL;
    char *pem = NULL;
    struct pl_diag diag = {{0}, 0};
    struct pl_acme_attempt *a = pl_zalloc(sizeof *a);
    enum pl_err err = PL_NO_MEMORY;
    uint64_t retry_after_ms = 0;
    if (a) {
        a->acme = acme;
        a->group = group;
        a->until_ms = pl_clock_ms() + acme->options.order_timeout_ms;
        a->diag = &diag;
        err = pl_acme_order(a, &certificate, &pem);
        retry_after_ms = a->retry_after_ms;
        pl_acme_https_rest(acme->https);
        pl_arena_done(&a->arena);
        pl_free(a);
    }
    if (!err) {
        take(acme, group, certificate);
        store_new(acme, group, pem);
        memset(pem, 0, strlen(pem));
        pl_free(pem);
        err = show(acme);
    }
    if (!err) {
        tell(acme, PL_ACME_ISSUED, group, NULL);
    } else if (err != PL_CANCELED) {
        plan_retry(acme, group, retry_after_ms);
        tell(acme, PL_ACME_FAILED, group, diag.text[0] ? diag.text : pl_err_text(err));
    }
}

/* Milliseconds until something is due for it; 0: now. */
static uint64_t due_in(const struct pl_acme_group *group)
{
    uint64_t now_ms = pl_clock_ms(), now_unix_ms = pl_clock_unix_ms();
    uint64_t renew_ms = group->certificate && group->renew_unix_ms > now_unix_ms
                            ? group->renew_unix_ms - now_unix_ms
                            : 0;
    uint64_t retry_ms = group->retry_ms > now_ms ? group->retry_ms - now_ms : 0;
    return renew_ms > retry_ms ? renew_ms : retry_ms;
}

static bool is_stopping(struct pl_acme *acme)
{
    pthread_mutex_lock(&acme->lock);
    bool result = acme->is_stopping;
    pthread_mutex_unlock(&acme->lock);
    return result;
}

static void *run(void *context)
{
    struct pl_acme *acme = context;
    for (;;) {
        uint64_t next_ms = LOOK_MS;
        for (size_t i = 0; i < acme->options.certificate_count; i++) {
            if (is_stopping(acme))
                return NULL;
            if (due_in(&acme->groups[i]) == 0)
                attempt(acme, &acme->groups[i]);
            /* An order that has just been done is not done again at once, whatever it brought. */
            uint64_t due_ms = due_in(&acme->groups[i]);
            next_ms = due_ms < next_ms ? due_ms : next_ms;
        }
        if (pl_acme_wait(acme, next_ms ? next_ms : SOON_MS) != PL_OK)
            return NULL;
    }
}

enum pl_err pl_acme_wait(struct pl_acme *acme, uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&acme->lock);
    int code = 0;
    while (!acme->is_stopping && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&acme->stopped, &acme->lock, &until);
    bool is_stopping = acme->is_stopping;
    pthread_mutex_unlock(&acme->lock);
    return is_stopping ? PL_CANCELED : PL_OK;
}

/* ---- Life ---- */

enum pl_err pl_acme_new(const struct pl_acme_options *options, struct pl_acme **out)
{
    struct pl_acme *acme = pl_zalloc(sizeof *acme);
    pthread_condattr_t attributes;
    if (!acme)
        return PL_NO_MEMORY;
    pthread_mutex_init(&acme->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&acme->stopped, &attributes);
    pthread_condattr_destroy(&attributes);
    enum pl_err err = copy_options(acme, options) ? PL_OK : PL_NO_MEMORY;
    if (!err) {
        acme->https = pl_acme_https_new(&(struct pl_acme_https_options){
            .ca_file = acme->options.ca_file,
            .user_agent = acme->options.user_agent,
            .answer_max = options->answer_max,
            .timeout_ms = options->request_timeout_ms,
        });
        err = acme->https ? PL_OK : PL_NO_MEMORY;
    }
    for (size_t i = 0; i < options->certificate_count && !err; i++)
        err = load(acme, &acme->groups[i]);
    if (!err)
        err = show(acme);
    if (err)
        pl_acme_free(acme);
    else
        *out = acme;
    return err;
}

enum pl_err pl_acme_start(struct pl_acme *acme, struct pl_diag *diag)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int code = pthread_create(&acme->thread, NULL, run, acme);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    acme->is_started = code == 0;
    if (code)
        pl_diag_set(diag, code, "no thread for certificates: %s", strerror(code));
    return code ? PL_IO : PL_OK;
}

struct pl_acme *pl_acme_free(struct pl_acme *acme)
{
    if (!acme)
        return NULL;
    pthread_mutex_lock(&acme->lock);
    acme->is_stopping = true;
    pthread_cond_broadcast(&acme->stopped);
    pthread_mutex_unlock(&acme->lock);
    if (acme->is_started) {
        pl_acme_https_stop(acme->https);
        pthread_join(acme->thread, NULL);
    }
    for (size_t i = 0; acme->groups && i < acme->options.certificate_count; i++)
        pl_tls_certificate_unref(acme->groups[i].certificate);
    pl_acme_https_free(acme->https);
    pl_acme_key_free(acme->key);
    pl_free(acme->account);
    pl_arena_done(&acme->arena);
    pthread_cond_destroy(&acme->stopped);
    pthread_mutex_destroy(&acme->lock);
    pl_free(acme);
    return NULL;
}

size_t pl_acme_count(const struct pl_acme *acme)
{
    return acme->options.certificate_count;
}

void pl_acme_facts(struct pl_acme *acme, size_t index, struct pl_acme_facts *out)
{
    const struct pl_acme_group *group = &acme->groups[index];
    pthread_mutex_lock(&acme->lock);
    *out = (struct pl_acme_facts){.name = group->names.domains[0],
        .expires_unix_ms = group->expires_unix_ms,
        .failures = group->failures};
    pthread_mutex_unlock(&acme->lock);
}
